// Four tests, of which each shard runs its own. Made to, the second aborts, and the third ends the program.
#include <cstdio>
#include <cstdlib>
#include <fstream>
#include <string>

static std::string variable(const char* name) {
  const char* value = std::getenv(name);
  return value ? value : "";
}

int main() {
  std::ofstream(variable("TEST_SHARD_STATUS_FILE")).close();
  const std::string premature = variable("TEST_PREMATURE_EXIT_FILE");
  if (!premature.empty()) std::ofstream(premature) << "0";
  const bool fault = !variable("FAULT").empty();
  const int index = std::stoi(variable("TEST_SHARD_INDEX"));
  if (fault && index == 1) std::abort();
  if (fault && index == 2) std::exit(0);
  if (!std::ifstream("shards/words.txt")) return 1;
  std::ofstream(variable("TEST_UNDECLARED_OUTPUTS_DIR") + "/seen") << "shard " << index << "\n";
  if (!premature.empty()) std::remove(premature.c_str());
  return 0;
}
