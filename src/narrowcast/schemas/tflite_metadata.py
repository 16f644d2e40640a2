"""The schema of TFLite Metadata as a table (notation: `schemas.flatbuffer`): what a .tflite file says of its use.

The facts are those of metadata_schema.fbs of tensorflow/tflite-support, version 1.5. Files that a model's metadata
names hang behind it as a zip archive.
"""

from __future__ import annotations

from narrowcast.schemas.flatbuffer import Schema

__all__ = ["ENTRY", "METADATA"]

ENTRY = "TFLITE_METADATA"
"""The name under which it stands in a .tflite file."""

_ENUMERATIONS = """
AssociatedFileType int8: UNKNOWN DESCRIPTIONS TENSOR_AXIS_LABELS TENSOR_VALUE_LABELS TENSOR_AXIS_SCORE_CALIBRATION
    VOCABULARY SCANN_INDEX_FILE
ColorSpaceType int8: UNKNOWN RGB GRAYSCALE
BoundingBoxType int8: UNKNOWN BOUNDARIES UPPER_LEFT CENTER
CoordinateType int8: RATIO PIXEL
ScoreTransformationType int8: IDENTITY LOG INVERSE_LOGISTIC
ContentProperties uint8: NONE FeatureProperties ImageProperties BoundingBoxProperties AudioProperties
ProcessUnitOptions uint8: NONE NormalizationOptions ScoreCalibrationOptions ScoreThresholdingOptions
    BertTokenizerOptions SentencePieceTokenizerOptions RegexTokenizerOptions
"""

_TABLES = """
AssociatedFile: name string, description string, type AssociatedFileType, locale string, version string
ImageSize: width uint32, height uint32
ImageProperties: color_space ColorSpaceType, default_size ImageSize
BoundingBoxProperties: index [uint32], type BoundingBoxType, coordinate_type CoordinateType
AudioProperties: sample_rate uint32, channels uint32
ValueRange: min int32, max int32
Content: content_properties_type ContentProperties, content_properties union, range ValueRange
NormalizationOptions: mean [float32], std [float32]
ScoreCalibrationOptions: score_transformation ScoreTransformationType, default_score float32
ScoreThresholdingOptions: global_score_threshold float32
BertTokenizerOptions: vocab_file [AssociatedFile]
SentencePieceTokenizerOptions: sentence_piece_model [AssociatedFile], vocab_file [AssociatedFile]
RegexTokenizerOptions: delim_regex_pattern string, vocab_file [AssociatedFile]
ProcessUnit: options_type ProcessUnitOptions, options union
Stats: max [float32], min [float32]
TensorGroup: name string, tensor_names [string]
TensorMetadata: name string, description string, dimension_names [string], content Content, process_units
    [ProcessUnit], stats Stats, associated_files [AssociatedFile]
CustomMetadata: name string, data [uint8]
SubGraphMetadata: name string, description string, input_tensor_metadata [TensorMetadata], output_tensor_metadata
    [TensorMetadata], associated_files [AssociatedFile], input_process_units [ProcessUnit], output_process_units
    [ProcessUnit], input_tensor_groups [TensorGroup], output_tensor_groups [TensorGroup], custom_metadata
    [CustomMetadata]
ModelMetadata: name string, description string, version string, subgraph_metadata [SubGraphMetadata], author string,
    license string, associated_files [AssociatedFile], min_parser_version string
"""

METADATA = Schema(_ENUMERATIONS, _TABLES, "FeatureProperties", identifier=b"M001", root="ModelMetadata")
"""TFLite Metadata's schema."""
