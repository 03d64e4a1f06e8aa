-- A returned row is a policy setting that is missing, unknown or out of range, a data use without an
-- opt_in row for every country, a kind of list that serves another data use than its own, or a sensitive topic
-- without a pattern, or with one that no name can meet. A minimum of 0, -1 or text must never let a list through. Noise
-- below the rounding would seldom move a size over an edge, and a minimum change below what noise and rounding
-- span would let a list of one size show two draws of the noise.
{%- if execute and not reads_files() -%}
    {#- where the run's start could not read the seed's file, the loosened rule is said here -#}
    {%- do say_policy(ref('audience_policy')) -%}
{%- endif %}

with settings as (
    select setting, value
    from {{ ref('audience_policy') }}
),

required_settings as (
    select 'min_audience_size' as setting
    union all
    select 'size_rounding' as setting
    union all
    select 'size_noise' as setting
    union all
    select 'min_size_change' as setting
    union all
    select 'dual_purpose_policy' as setting
),

numbers as (
    select
        max(case when setting = 'size_rounding' then {{ cast_or_null('value', 'integer') }} end) as size_rounding,
        max(case when setting = 'size_noise' then {{ cast_or_null('value', 'integer') }} end) as size_noise,
        max(case when setting = 'min_size_change' then {{ cast_or_null('value', 'integer') }} end) as min_size_change
    from settings
),

required_rules as (
    select data_use from {{ ref('list_kinds') }}
    union all
    select 'ads.measurement' as data_use
),

required_topics as (
    select topics.topic
    from (
        values
        ('health'), ('genetic_or_biometric_data'), ('religion'), ('politics'), ('trade_union'), ('ethnic_origin'),
        ('sexual_life_or_orientation'), ('children'), ('financial_hardship'), ('criminal_record'),
        ('personal_hardship')
    ) as topics (topic)
)

select required_settings.setting as fault
from required_settings
where not exists (
    select 1 from settings
    where
        settings.setting = required_settings.setting
        and case settings.setting
            when 'dual_purpose_policy' then settings.value in ('exclude', 'separate_collection')
            else {{ matches('settings.value', "'^[1-9][0-9]{0,8}$'") }}
        end
)

union all

select setting as fault
from settings
where not exists (
    select 1 from required_settings
    where required_settings.setting = settings.setting
)

union all

select 'size_noise, below size_rounding' as fault
from numbers
where size_noise < size_rounding

union all

select 'min_size_change, below size_noise and twice size_rounding' as fault
from numbers
where min_size_change < size_noise + 2 * size_rounding

union all

select required_rules.data_use as fault
from required_rules
where not exists (
    select 1 from {{ ref('consent_rules') }} as rules
    where
        rules.data_use = required_rules.data_use
        and rules.country_code = '*'
        and rules.choice_model = 'opt_in'
)

union all

select list_kind as fault
from {{ ref('list_kinds') }}
where data_use is distinct from 'ads.audience_matching.' || list_kind

union all

select topic as fault
from required_topics
where not exists (
    select 1 from {{ ref('sensitive_list_topics') }} as topics
    where topics.topic = required_topics.topic
)

union all

select topic as fault
from {{ ref('sensitive_list_topics') }}
where not {{ matches('name_pattern', "'^[a-z0-9]+( [a-z0-9]+)*%?$'") }}
