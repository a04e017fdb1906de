#!/usr/bin/env bash
# Makes every report of this folder anew, with the studies' defaults: about ten minutes on two cores.
set -euo pipefail
cd "$(dirname "$0")/.."
for study in mt40k_topbotk mt40k_matched carrier_pairs concreteness_slope null_split positive_control; do
    python -m studies "$study"
done
python -m studies calibrate mt40k_topbotk
python -m studies sweep mt40k_topbotk --k 500,1000,3000 --max-length 20,64 --threshold 0.5,0.9
python -m studies compare mt40k_topbotk mt40k_matched
python -m studies compare mt40k_matched carrier_pairs
python -m studies models mt40k_matched --model all-MiniLM-L6-v2 --siblings 5
python -m studies answer
