{#- SQLite has no type for timestamps: dbt gets their texts, which are in UTC. -#}
{% macro sqlite__collect_freshness(source, loaded_at_field, filter) %}
  {% call statement('collect_freshness', fetch_result=True, auto_begin=False) -%}
    select max({{ loaded_at_field }}), strftime('%Y-%m-%d %H:%M:%f', 'now')
    from {{ source }} {% if filter %} where {{ filter }} {% endif %}
  {% endcall %}
  {% set found = load_result('collect_freshness') %}
  {% set times = [] %}
  {% for text in found.table.rows[0].values() %}
    {% do times.append(modules.datetime.datetime.fromisoformat(text ~ '+00:00') if text) %}
  {% endfor %}
  {{ return(namespace(response=found.response, table=[times])) }}
{% endmacro %}
