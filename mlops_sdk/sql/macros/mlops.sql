{# Where tables are: the SDK says it by variables, so that no name of a release is in a model. #}

{% macro generate_schema_name(custom_schema_name, node) -%}
  {%- set place = var('mlops_places', {}).get(node.name) if node.resource_type == 'model' else none -%}
  {%- do return(place[0] if place else target.schema) -%}
{%- endmacro %}

{% macro generate_alias_name(custom_alias_name=none, node=none) -%}
  {%- set place = var('mlops_places', {}).get(node.name) if node.resource_type == 'model' else none -%}
  {%- do return(place[1] if place else node.name) -%}
{%- endmacro %}

{# Tables of the release are named in models as source('release', TABLE). #}
{% macro source(source_name, table_name) -%}
  {%- set declared = builtins.source(source_name, table_name) -%}
  {%- if source_name == 'release' and var('mlops_release', none) is not none -%}
    {%- set place = var('mlops_release').get(table_name) -%}
    {%- if place is none -%}
      {%- if execute -%}
        {%- do exceptions.raise_compiler_error("table " ~ table_name ~ " is not one that may be read here: " ~ var('mlops_release') | list | join(", ")) -%}
      {%- endif -%}
    {%- else -%}
      {%- set declared = api.Relation.create(database=target.database, schema=place[0], identifier=place[1], type='table') -%}
    {%- endif -%}
  {%- endif -%}
  {%- do return(declared) -%}
{%- endmacro %}
