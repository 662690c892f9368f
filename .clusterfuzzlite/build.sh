#!/bin/bash -eu
# Builds the fuzz targets for ClusterFuzzLite and OSS-Fuzz, with their seeds and dictionaries.
cd "$SRC/restub/fuzz"
cargo fuzz build -O --debug-assertions
for source in fuzz_targets/*.rs; do
  target=$(basename "$source" .rs)
  # There are no linkers where targets run.
  if [ "$target" = link_vs_ld ]; then continue; fi
  cp "target/x86_64-unknown-linux-gnu/release/$target" "$OUT/"
  if [ -d "seeds/$target" ]; then zip -jqr "$OUT/${target}_seed_corpus.zip" "seeds/$target"; fi
  if [ -f "dictionaries/$target.dict" ]; then cp "dictionaries/$target.dict" "$OUT/"; fi
done
