#!/usr/bin/env python3
"""Makes minilm.json: what HuggingFace's BERT tokenizer and model give for MiniLM.

Needs transformers and torch, which the project itself does not:
    make_minilm_golden.py --bert DIR --captions FILE... --out minilm.json
Token ids of all captions go in as one SHA-256 (little-endian int32 ids of each caption,
[CLS] and [SEP] included, a -1 after each caption); the model's last states as a few numbers
for sentences of our own.
"""
import argparse
import hashlib
import json
import struct

import torch
from transformers import BertModel, BertTokenizer

SENTENCES = [
    "a striped red cross and a blue heart",
    "Two small green circles are left of a yellow star.",
    "Caf\u00e9 tables, unaffable   cr\u00e8me-br\u00fbl\u00e9e & $5 \u2014 all outdoors!",
    "one",
]
MAX_WORDS = 32


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--bert", required=True)
    parser.add_argument("--captions", nargs="+", required=True)
    parser.add_argument("--out", required=True)
    flags = parser.parse_args()
    tokenizer = BertTokenizer.from_pretrained(flags.bert)
    model = BertModel.from_pretrained(flags.bert, attn_implementation="eager").eval()

    digests = {}
    for path in flags.captions:
        digest, count = hashlib.sha256(), 0
        with open(path, encoding="utf-8") as lines:
            for line in lines:
                ids = tokenizer(line.strip()).input_ids + [-1]
                digest.update(struct.pack(f"<{len(ids)}i", *ids))
                count += 1
        digests[path.rsplit("/", 1)[-1]] = {"captions": count, "sha256": digest.hexdigest()}

    states = []
    for sentence in SENTENCES:
        batch = tokenizer(sentence, padding="max_length", max_length=MAX_WORDS,
                          truncation=True, return_tensors="pt")
        with torch.no_grad():
            last = model(batch.input_ids, attention_mask=batch.attention_mask).last_hidden_state[0]
        length = int(batch.attention_mask.sum())
        states.append({
            "text": sentence,
            "ids": batch.input_ids[0, :length].tolist(),
            # Every 37th channel of the tokens' states: enough to notice any difference.
            "states": [[round(float(v), 6) for v in row[::37]] for row in last[:length]],
        })
    with open(flags.out, "w", encoding="utf-8") as out:
        json.dump({"token_digests": digests, "channel_step": 37, "max_words": MAX_WORDS,
                   "sentences": states}, out, indent=1)
        out.write("\n")


if __name__ == "__main__":
    main()
