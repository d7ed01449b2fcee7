"""The model of one scenario: embeddings, template experts, gates, towers, and which parameter is which part."""

from pfmsmtrec_flwr.model.base import ModelSpec, ScenarioModel
from pfmsmtrec_flwr.model.build import build_model, draw_parameters, make_model
from pfmsmtrec_flwr.model.embeddings import FieldSpec
from pfmsmtrec_flwr.model.mmoe import MMoE
from pfmsmtrec_flwr.model.partition import partition
from pfmsmtrec_flwr.model.parts import Part, Slot

__all__ = [
    "FieldSpec",
    "MMoE",
    "ModelSpec",
    "Part",
    "ScenarioModel",
    "Slot",
    "build_model",
    "draw_parameters",
    "make_model",
    "partition",
]
