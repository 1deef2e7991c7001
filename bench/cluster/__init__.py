"""A campaign on many machines: which node measures which block, what happens when one dies, and Ray beneath it."""
