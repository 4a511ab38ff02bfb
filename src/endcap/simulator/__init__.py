"""A made-up shop with seeded shoppers who use the real server: what is true is known, so the loop can be judged.

For the validity of what learns from feedback (bandits, position estimates, feedback loops), never a claim of quality.
"""
