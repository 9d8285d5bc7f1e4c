#!/bin/sh
# One of eleven parts, by its number, or the one that is named. Each passes, but for those whose names say otherwise, where
# FAULTS is set.
part=${1:-$(echo steady0 steady1 steady2 steady3 steady4 steady5 fails aborts exits hangs waits |
    cut -d' ' -f$((${TEST_SHARD_INDEX:-$SHARD_INDEX} + 1)))}
[ -z "$TEST_SHARD_STATUS_FILE" ] || touch "$TEST_SHARD_STATUS_FILE"
[ -z "$TEST_PREMATURE_EXIT_FILE" ] || touch "$TEST_PREMATURE_EXIT_FILE"
case ${FAULTS:+$part}$part in
failsfails) code=1 ;;
abortsaborts) kill -ABRT $$ ;;
exitsexits) exit 0 ;;
hangshangs) sleep 600 ;;
*waits)
    pwd >"$GATE.new"
    mv "$GATE.new" "$GATE.open"
    until [ -e "$GATE" ]; do sleep 0.02; done
    ;;
*steady*) sleep 0.1 ;;
esac
[ -z "$TEST_PREMATURE_EXIT_FILE" ] || rm "$TEST_PREMATURE_EXIT_FILE"
exit ${code:-0}
