"""Whether a caption is true of its drawing: claims read from the words, facts read from the shapes. No model.

    facts = read_facts(load(data))              # visible shapes, colours, places, text
    checked = check("Two red circles.", facts)  # claims with spans and verdicts

What cannot be decided is said to be undecidable and never guessed: a claim is false only where all that could
bear it out was read. docs/evaluation.md has the limits.
"""

from faithfulness.check import Checked, CheckedClaim, check
from faithfulness.claims import Claim, read_claims
from faithfulness.facts import Facts, Mark, read_facts

__all__ = ["Checked", "CheckedClaim", "Claim", "Facts", "Mark", "check", "read_claims", "read_facts"]
