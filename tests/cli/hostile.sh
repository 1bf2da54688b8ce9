#!/bin/bash
# scripts/show/hostile on a tiny world: bad input of every kind is refused with the right code and words.
set -eu
VLMOE_BUILD=$BIN "$SOURCE/scripts/show/hostile"
