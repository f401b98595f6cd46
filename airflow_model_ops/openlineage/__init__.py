"""What a task did to a model, told to Airflow's OpenLineage provider.

``facets`` alone needs that provider and is imported only when it asks; everything else here is plain.
"""
