"""What a study is: its definition, its options, and where studies are found."""

from metastable.study.definition import (
    Claim,
    Condition,
    Design,
    Factor,
    Material,
    Sequence,
    Study,
    View,
)
from metastable.study.entries import Option
from metastable.study.options import Options

__all__ = ["Claim", "Condition", "Design", "Factor", "Material", "Option", "Options", "Sequence", "Study", "View"]
