"""What a study is: its definition, its options, and where studies are found."""

from metastable.study.definition import (
    Claim,
    Condition,
    Design,
    Factor,
    Material,
    Option,
    Sequence,
    Study,
    View,
)

__all__ = ["Claim", "Condition", "Design", "Factor", "Material", "Option", "Sequence", "Study", "View"]
