{# A build inserts into the table of its attempt: its role may do nothing else. #}

{% macro mlops_insert() -%}
  {%- set declared = var('mlops_columns') -%}
  {%- if execute -%}
    {%- set found = adapter.get_column_schema_from_query(get_column_schema_query(sql)) | map(attribute='name') | list -%}
    {%- set missing = declared | reject('in', found) | list -%}
    {%- set more = found | reject('in', declared) | list -%}
    {%- if missing or more -%}
      {%- do exceptions.raise_compiler_error("the model has other columns than its table declares: "
          ~ ((missing + more) | sort | join(", "))) -%}
    {%- endif -%}
  {%- endif -%}
  {%- set names = declared | map('tojson') | join(", ") -%}
  {% call statement('main') -%}
    insert into {{ this }} ({{ names }}) select {{ names }} from (
{{ sql }}
    ) as model
  {%- endcall %}
  {% do adapter.commit() %}
{%- endmacro %}

{% macro get_column_schema_query(sql) -%}
  select * from (
{{ sql }}
  ) as model where false limit 0
{%- endmacro %}

{% materialization table, adapter='postgres' %}
  {% do mlops_insert() %}
  {% do return({'relations': [this.incorporate(type='table')]}) %}
{% endmaterialization %}

{% materialization view, adapter='postgres' %}
  {% do mlops_insert() %}
  {% do return({'relations': [this.incorporate(type='table')]}) %}
{% endmaterialization %}

{% materialization incremental, adapter='postgres' %}
  {% do mlops_insert() %}
  {% do return({'relations': [this.incorporate(type='table')]}) %}
{% endmaterialization %}
