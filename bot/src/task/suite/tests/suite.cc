#include <gtest/gtest.h>
#include <signal.h>
#include <unistd.h>
#include <cstdio>
#include <cstdlib>
#include <vector>

TEST(Plain, Passes) { printf("said by Passes\n"); }
TEST(Plain, Fails) {
  printf("said by Fails");
  EXPECT_EQ(1, 2) << "one & two = 100%";
}
TEST(Plain, Skips) { GTEST_SKIP() << "not today"; }
TEST(Plain, DISABLED_Never) { abort(); }
TEST(Plain, PassesLast) {
  EXPECT_TRUE(true);
  SUCCEED() << "a part result that is no failure";
}
TEST(Imitates, Fails) {
  printf("[       OK ] Imitates.Fails (0 ms)\n[ RUN      ] Plain.Passes\n[  FAILED  ] Plain.Passes (1 ms)\n");
  FAIL();
}
TEST(Crash, Aborts) {
  fprintf(stderr, "last words\n");
  abort();
}
TEST(Crash, Exits) { exit(0); }
TEST(Crash, ExitsAsIfItHadFailed) { exit(1); }
TEST(Crash, Hangs) {
  printf("hanging\n");
  fflush(stdout);
  for (;;) pause();
}
TEST(Crash, IsKilled) { raise(SIGKILL); }
TEST(Crash, PassesAfterwards) {}
TEST(Closes, Stdout) { close(1); }
TEST(Closes, After) {}

struct TearDown : testing::Test {
  static void TearDownTestSuite() { abort(); }
};
TEST_F(TearDown, First) {}
TEST_F(TearDown, Last) {}

struct SetUp : testing::Test {
  static void SetUpTestSuite() { exit(0); }
};
TEST_F(SetUp, First) {}

struct BadSetUp : testing::Test {
  static void SetUpTestSuite() { ADD_FAILURE() << "no database"; }
};
TEST_F(BadSetUp, First) {}
TEST_F(BadSetUp, Last) {}

struct BadTearDown : testing::Test {
  static void TearDownTestSuite() { ADD_FAILURE() << "cannot put it away"; }
};
TEST_F(BadTearDown, First) {}
TEST_F(BadTearDown, Last) {}

struct P : testing::TestWithParam<const char*> {};
TEST_P(P, Value) { SUCCEED(); }
INSTANTIATE_TEST_SUITE_P(Inst, P, testing::Values("plain", "  # c = d", "[ RUN      ] Plain.Fails"));

template <typename T>
struct Ty : testing::Test {};
typedef testing::Types<int, std::vector<long>> Kinds;
TYPED_TEST_SUITE(Ty, Kinds);
TYPED_TEST(Ty, IsSmall) { EXPECT_LT(sizeof(TypeParam), 8u); }

TEST(Death, Dies) { EXPECT_DEATH(abort(), ""); }
