"""The 7B recipe on other engines: verl for reinforcement learning, LLaMA-Factory for fine-tuning.

``verl_grpo.yaml``, ``verl_agent.yaml`` and ``verl_tools.yaml`` are read by verl,
``llamafactory_sft.yaml`` by LLaMA-Factory; ``armbench train export`` writes their data.
"""
