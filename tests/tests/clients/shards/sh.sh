#!/bin/sh
# What Bazel's test encyclopedia says that a test finds. FAULT has shards 1 to 3 break it, each in its own way.
set -eu
test "$(cat shards/words.txt)" = words
test -f "$TEST_SRCDIR/$TEST_WORKSPACE/shards/words.txt"
test "$(pwd -P)" = "$(cd "$TEST_SRCDIR/$TEST_WORKSPACE" && pwd -P)"
test "$TEST_TOTAL_SHARDS" = 4
test -d "$TEST_TMPDIR"
case ${FAULT:-}$TEST_SHARD_INDEX in
fault1) kill -SEGV $$ ;;
fault2) touch "$TEST_SHARD_STATUS_FILE"; echo 0 >"$TEST_PREMATURE_EXIT_FILE"; exit 0 ;;
fault3) exit 0 ;;
esac
touch "$TEST_SHARD_STATUS_FILE"
echo "<testsuites><testsuite name='sh' tests='1'><testcase name='part$TEST_SHARD_INDEX'/></testsuite></testsuites>" >"$XML_OUTPUT_FILE"
echo "shard $TEST_SHARD_INDEX" >"$TEST_UNDECLARED_OUTPUTS_DIR/seen"
