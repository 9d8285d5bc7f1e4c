import os

from shards import part

index, total = part.begin()
assert total == 4
with open("shards/words.txt") as file:
    assert file.read() == "words\n"
with open(os.path.join(os.environ["TEST_UNDECLARED_OUTPUTS_DIR"], "seen"), "w") as file:
    file.write("shard %d\n" % index)
