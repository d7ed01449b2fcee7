"""The model of one scenario: embeddings, template experts, gates, towers, and which parameter is which part."""

from pfmsmtrec_flwr.model.embeddings import FieldSpec
from pfmsmtrec_flwr.model.mmoe import MMoE, ModelSpec, build_model, draw_parameters
from pfmsmtrec_flwr.model.parts import Part, Slot, partition

__all__ = ["FieldSpec", "MMoE", "ModelSpec", "Part", "Slot", "build_model", "draw_parameters", "partition"]
