// Each test passes, but for those whose names say otherwise, where FAULTS is set.
#include <gtest/gtest.h>
#include <signal.h>
#include <unistd.h>
#include <cstdlib>
#include <fstream>
#include <string>

static bool faults() { return getenv("FAULTS") != nullptr; }

#define STEADY(name) \
  TEST(Suite, name) { usleep(100000); }
STEADY(steady0)
STEADY(steady1)
STEADY(steady2)
STEADY(steady3)
STEADY(steady4)
STEADY(steady5)
TEST(Suite, fails) { EXPECT_FALSE(faults()); }
TEST(Suite, aborts) {
  if (faults()) abort();
}
TEST(Suite, exits) {
  if (faults()) exit(0);
}
TEST(Suite, hangs) {
  while (faults()) pause();
}
TEST(Suite, waits) {
  char where[4096];
  const std::string gate = getenv("GATE");
  std::ofstream(gate + ".new") << getcwd(where, sizeof where) << std::endl;
  rename((gate + ".new").c_str(), (gate + ".open").c_str());
  while (access(gate.c_str(), F_OK) != 0) usleep(10000);
}
