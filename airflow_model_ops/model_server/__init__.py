"""The embedded model server: TF Serving's gRPC and REST API on TensorFlow's Python package.

It is for laptops, the demo and tests; production uses ``tensorflow_model_server``. Run it with
``python -m airflow_model_ops.model_server``. How the files fit together:

==================  =====================================================================================
``model_list``      what a ModelServerConfig says: models, version policies, labels; its validation
``path_source``     scans base paths and turns policies into aspired versions
``places``          a base path as a directory of this machine or of a bucket
``lifecycle``       loads before it unloads; one state machine per version; hands versions to requests
``state_board``     the last state of every version ever seen, and waiting for one
``server_core``     a reload from start to end; requests by version, label or latest
``saved_model``     the only file that runs TensorFlow: a SavedModel behind ``servable.Servable``
``bucket_loads``    a version from a bucket: fetched, loaded, the copy removed
``json_request``    REST's JSON to tensors; ``json_answer`` back again; ``json_text`` for messages
``rest_api``        REST requests to answers; ``http_server`` puts it on a socket
``grpc_service``    PredictionService and ModelService
``request_metrics`` TF Serving's own metrics; ``performance`` adds ``model_version_performance``
``config_files``    text-format protos; ``flags`` and ``settings`` what a start needs; ``process`` start and stop
==================  =====================================================================================

Everything above ``saved_model`` is free of TensorFlow, so its rules are tested in milliseconds.
"""
