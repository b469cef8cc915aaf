"""Fixtures of packages/models: small random models and tokenizers, and what Python's libraries make of them.

usage: python tools/golden/models OUT [SMOLLM2.gguf STORIES260K BENCHMARKS]
needs: pip install torch transformers tokenizers safetensors gguf accelerate sentencepiece protobuf
"""
import os
import sys

os.environ['HF_HUB_OFFLINE'] = '1'
import blocks
import folders
import ggufs
import real

out = sys.argv[1]
blocks.write(f'{out}/blocks.json')
folders.write(f'{out}/hf')
ggufs.write(f'{out}/gguf')
if len(sys.argv) > 2:
    real.write(f'{out}/real.json', *sys.argv[2:5])
