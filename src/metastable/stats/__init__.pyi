"""The public names of the statistics, each with the module that holds it: what is imported when first asked for."""

from .adjustment import adjustment_table as adjustment_table
from .analysis import Analysis as Analysis
from .analysis import Settings as Settings
from .analysis import TokenRows as TokenRows
from .analysis import analyse as analyse
from .balance import balance_table as balance_table
from .bayes import jzs_bayes_factor as jzs_bayes_factor
from .bootstrap import bootstrap_g as bootstrap_g
from .corrections import adjust_p_values as adjust_p_values
from .corrections import null_proportion as null_proportion
from .effects import EffectSize as EffectSize
from .effects import hedges_g as hedges_g
from .effects import mean_difference as mean_difference
from .equivalence import equivalence_test as equivalence_test
from .hierarchical import hierarchical_test as hierarchical_test
from .mixed_models.joint import fit_joint_model as fit_joint_model
from .mixed_models.mixed import MixedModels as MixedModels
from .mixed_models.mixed import fit_mixed_models as fit_mixed_models
from .permutations.permutation import PermutationResult as PermutationResult
from .permutations.permutation import permutation_test as permutation_test
from .permutations.permutation import permutation_test_contrast as permutation_test_contrast
from .simulation.calibrating import calibrate as calibrate
from .simulation.sensitivity import sensitivity as sensitivity
from .superiority import probability_of_superiority as probability_of_superiority
from .transforms import transform_counts as transform_counts
from .verdict import verdicts as verdicts
