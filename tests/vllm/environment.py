"""What vLLM needs on a machine without a GPU; torch and vLLM read it once, processes started by tests inherit it."""

import os

os.environ |= {"DO_NOT_TRACK": "1", "TORCH_COMPILE_DISABLE": "1", "TRANSFORMERS_OFFLINE": "1",
               "VLLM_CPU_KVCACHE_SPACE": "1", "VLLM_NO_USAGE_STATS": "1"}
