{#
    Normalization of identifiers (DESIGN 4.2) and block keys (4.3), in one place for the four staging
    models that read values: contacts, list entries and the two kinds of suppressions.

    `normalize_identifiers(addresses, numbers, columns)` writes the common table expressions that end in
    `normalized_identifiers`. The first relation holds what is filed under any channel but phone, with
    channel and value; the second what is filed under phone, with value and country_code (ISO 3166-1
    alpha-2 of the record, may be null). To the columns that both have and that are named it adds

    normalized_value     e-mail: outer white space gone, A-Z in lower case, the form that every
                         profile renders from; phone: E.164 with its plus; null when invalid
    national_number      phone: the national significant number of the E.164 number
    trunk_number         phone: the same as it is dialled inside its country, behind the national prefix
    normalization_fault  null when valid, else unknown_channel, invalid_email, phone_no_country
                         or invalid_phone
    block_key            the wide class of the value (4.3), for invalid values too; null only when
                         nothing remains of the value
#}

{# -- characters ---------------------------------------------------------------------------- #}

{% macro white_space() -%}
    {#- Unicode property White_Space -#}
    {{ return(
        "\u0009\u000a\u000b\u000c\u000d\u0020\u0085\u00a0\u1680\u2000\u2001\u2002\u2003"
        ~ "\u2004\u2005\u2006\u2007\u2008\u2009\u200a\u2028\u2029\u202f\u205f\u3000"
    ) }}
{%- endmacro %}

{% macro zero_width() -%}
    {#- Unicode property Default_Ignorable_Code_Point, as far as it is in the basic plane: nothing is drawn -#}
    {{ return(
        "\u00ad\u034f\u061c\u115f\u1160\u17b4\u17b5\u180b\u180c\u180d\u180e\u180f\u200b\u200c\u200d\u200e\u200f"
        ~ "\u202a\u202b\u202c\u202d\u202e\u2060\u2061\u2062\u2063\u2064\u2065\u2066\u2067\u2068\u2069"
        ~ "\u206a\u206b\u206c\u206d\u206e\u206f\u3164\ufe00\ufe01\ufe02\ufe03\ufe04\ufe05\ufe06\ufe07"
        ~ "\ufe08\ufe09\ufe0a\ufe0b\ufe0c\ufe0d\ufe0e\ufe0f\ufeff\uffa0"
    ) }}
{%- endmacro %}

{% macro refused_email_characters() -%}
    {#-
        A character class of what is refused beyond ASCII: white space, zero-width, C1 controls,
        smart quotes, full-width forms, and the letters whose case mapping grows to several characters or reaches ASCII
        (UnicodeData and SpecialCasing), with the sigma that lower-cases by context: where engines
        differ on them, one mailbox would get two keys, or two mailboxes one
    -#}
    {{ return(
        "\u0080-\u00a0\u00ad\u034f\u061c\u115f\u1160\u1680\u17b4\u17b5\u180b-\u180f\u2000-\u200f\u2018-\u201f"
        ~ "\u2028-\u202f\u205f-\u206f\u3000\u3164\ufe00-\ufe0f\ufeff\uff00-\uffef"
        ~ "\u00df\u0130\u0131\u0149\u017f\u01f0\u0390\u03a3\u03b0\u0587\u1e96-\u1e9a\u1e9e\u1f50\u1f52\u1f54\u1f56"
        ~ "\u1f80-\u1faf\u1fb2-\u1fb4\u1fb6\u1fb7\u1fbc\u1fc2-\u1fc4\u1fc6\u1fc7\u1fcc\u1fd2\u1fd3\u1fd6\u1fd7"
        ~ "\u1fe2-\u1fe4\u1fe6\u1fe7\u1ff2-\u1ff4\u1ff6\u1ff7\u1ffc\u212a\ufb00-\ufb06\ufb13-\ufb17"
    ) }}
{%- endmacro %}

{% macro full_width_ascii() -%}
    {#- U+FF01 to U+FF5E, the full-width forms of ! to ~ -#}
    {{ return(
        "\uff01\uff02\uff03\uff04\uff05\uff06\uff07\uff08\uff09\uff0a\uff0b\uff0c\uff0d\uff0e\uff0f\uff10"
        ~ "\uff11\uff12\uff13\uff14\uff15\uff16\uff17\uff18\uff19\uff1a\uff1b\uff1c\uff1d\uff1e\uff1f\uff20"
        ~ "\uff21\uff22\uff23\uff24\uff25\uff26\uff27\uff28\uff29\uff2a\uff2b\uff2c\uff2d\uff2e\uff2f\uff30"
        ~ "\uff31\uff32\uff33\uff34\uff35\uff36\uff37\uff38\uff39\uff3a\uff3b\uff3c\uff3d\uff3e\uff3f\uff40"
        ~ "\uff41\uff42\uff43\uff44\uff45\uff46\uff47\uff48\uff49\uff4a\uff4b\uff4c\uff4d\uff4e\uff4f\uff50"
        ~ "\uff51\uff52\uff53\uff54\uff55\uff56\uff57\uff58\uff59\uff5a\uff5b\uff5c\uff5d\uff5e"
    ) }}
{%- endmacro %}

{% macro printable_ascii() -%}
    {#- ! to ~, with the quote doubled for SQL, in the order of full_width_ascii() -#}
    {{ return("!\"#$%&''()*+,-./0123456789:;<=>?@ABCDEFGHIJKLMNOPQRSTUVWXYZ[\\]^_`abcdefghijklmnopqrstuvwxyz{|}~") }}
{%- endmacro %}

{% macro phone_punctuation() -%}
    {#- what libphonenumber lets stand between digits, letters excepted -#}
    {{ return(
        white_space() ~ zero_width()
        ~ "-\u2010\u2011\u2012\u2013\u2014\u2015\u2212\u30fc\uff0d./\uff0e\uff0f()\uff08\uff09[]\uff3b\uff3d~\u2053\u223c\uff5e"
    ) }}
{%- endmacro %}

{% macro trim_white_space(text) -%}
    trim(both '{{ white_space() ~ zero_width() }}' from {{ text }})
{%- endmacro %}

{% macro lower_ascii(text) -%}
    translate({{ text }}, 'ABCDEFGHIJKLMNOPQRSTUVWXYZ', 'abcdefghijklmnopqrstuvwxyz')
{%- endmacro %}

{# -- e-mail -------------------------------------------------------------------------------- #}

{% macro is_valid_email(text, is_ascii) -%}
    {#-
        One at sign, a local part, two domain labels or more, none empty, 254 characters at most. The
        specials of RFC 5322 3.2.3, which only a quoted local part may hold, are refused. With `is_ascii` a
        valid address beyond ASCII is left out, and no second pattern is needed
    -#}
    {%- set label = "!#-''*+/-9=?A-Z^-~-" if is_ascii else "!#-''*+/-9=?A-Z^-~\u00a1-\U0010ffff-" -%}
    (
        {{ matches(text, "'^[." ~ label ~ "]+@([" ~ label ~ "]+[.])+[" ~ label ~ "]+$'") }}
        {%- if not is_ascii %}
        and not {{ matches(text, "'[" ~ refused_email_characters() ~ "]'") }}
        {%- endif %}
        and length({{ text }}) <= 254
    )
{%- endmacro %}

{% macro fold_for_blocking(text) -%}
    {#-
        What remains of a value when everything is gone that could tell two spellings of one mailbox
        apart: compatibility forms as far as the engine goes, invisible and forbidden characters, case,
        names and remarks around the first address, doubled at signs and dots
    -#}
    {%- set spelled -%}
        translate(
            {{ text }},
            '{{ full_width_ascii() ~ "\u3002\uff61" ~ zero_width() }}',
            '{{ printable_ascii() }}..'
        )
    {%- endset -%}
    {#- dotted capital I, long s, final sigma and sharp s, which lower() leaves apart -#}
    {%- set lowered = "lower(translate(" ~ compose_characters(spelled) ~ ", '\u0130', 'i'))" -%}
    {%- set case_folded = "replace(translate(" ~ lowered ~ ", '\u017f\u03c2', 's\u03c3'), '\u00df', 'ss')" -%}
    {%- set address = "coalesce(" ~ first_match(case_folded, "'[^]<>():;,[]*@[^]<>():;,?[]*'") ~ ", " ~ case_folded ~ ")" -%}
    {%- set remaining = replace_matches(address, "'[^!#-''*+.-9=?@A-Z^-~\u00a1-\U0010ffff-]'", "''") -%}
    {{ replace_matches(replace_matches(remaining, "'[.]+'", "'.'"), "'@[.@]+'", "'@'") }}
{%- endmacro %}

{% macro email_block_key(folded, is_plain_email) -%}
    {#-
        Dots and the +suffix of the local part dropped on every domain, googlemail.com = gmail.com,
        and all internationalized domains one class, since SQL cannot tell a U-label from its A-label
    -#}
    {%- set domain = without_trailing("split_part(" ~ folded ~ ", '@', 2)", '.') -%}
    {%- set mailbox = "replace(split_part(split_part(" ~ folded ~ ", '@', 1), '+', 1), '.', '') || '@'" -%}
    case
        when {{ is_plain_email }} and {{ folded }} not like '%xn--%' and {{ folded }} not like '%@googlemail.com'
            then {{ mailbox }} || split_part({{ folded }}, '@', 2)
        when {{ matches(folded, "'^[^@]*@[^@]*$'") }}
            then {{ mailbox }} || case
                when {{ matches(domain, "'(^|[.])xn--|[^ -~]'") }} then 'internationalized'
                when {{ domain }} = 'googlemail.com' then 'gmail.com'
                else {{ domain }}
            end
        else nullif({{ folded }}, '')
    end
{%- endmacro %}

{# -- phone --------------------------------------------------------------------------------- #}

{% macro calling_code(digits) -%}
    {#- ITU-T E.164: zones 1 and 7 are codes by themselves; these have two digits; all others three -#}
    case
        when left({{ digits }}, 1) in ('1', '7') then left({{ digits }}, 1)
        when left({{ digits }}, 2) in (
            '20', '27', '30', '31', '32', '33', '34', '36', '39', '40', '41', '43', '44', '45', '46', '47',
            '48', '49', '51', '52', '53', '54', '55', '56', '57', '58', '60', '61', '62', '63', '64', '65',
            '66', '81', '82', '84', '86', '90', '91', '92', '93', '94', '95', '98'
        ) then left({{ digits }}, 2)
        else left({{ digits }}, 3)
    end
{%- endmacro %}

{% macro has_possible_length(digits, possible_lengths) -%}
    position('|' || cast(length({{ digits }}) as varchar) || '|' in '|' || {{ possible_lengths }} || '|') > 0
{%- endmacro %}

{% macro bracketed_zero() -%}
    {{ return("'[(\uff08][ \u00a0]*[0\uff10][ \u00a0]*[)\uff09]'") }}
{%- endmacro %}

{% macro national_significant_number(digits, region, is_domestic, has_plus=none) -%}
    {#-
        The digits without the region's national prefix, where what is left has a possible length. A
        prefix 0 always goes, since no number of such a region begins with 0; another prefix goes where
        it must be dialled. Behind a calling code it is a slip, read only behind a plus: behind 00 it
        could be the rest of another region's own prefix (0011 in Australia). A zero in brackets behind
        a calling code is nobody's; only where a region has no national prefix may it belong (Italy)
    -#}
    {%- set lengths = region ~ ".possible_lengths" -%}
    {%- set without_zero = "substr(" ~ digits ~ ", 2)" -%}
    {%- set drops_zero = "dialled.has_bracketed_zero and left(" ~ digits ~ ", 1) = '0' and "
        ~ has_possible_length(without_zero, lengths) -%}
    case
        {%- if not is_domestic %}
        when {{ drops_zero }} and {{ region }}.national_prefix is not null then {{ without_zero }}
        {%- endif %}
        {%- for column in ["national_prefix", "other_national_prefix"] %}
        {%- set prefix = region ~ "." ~ column %}
        {%- set rest = "substr(" ~ digits ~ ", length(" ~ prefix ~ ") + 1)" %}
        when left({{ digits }}, length({{ prefix }})) = {{ prefix }}
            {{- "" if is_domestic else " and " ~ prefix ~ " = '0'" }} and {{ has_possible_length(rest, lengths) }}
            then {{ rest }}
        {%- endfor %}
        when {{ has_possible_length(digits, lengths) }} then {{ digits }}
        {%- if has_plus %}
        {%- set rest = "substr(" ~ digits ~ ", length(" ~ region ~ ".national_prefix) + 1)" %}
        when {{ has_plus }}
            and left({{ digits }}, length({{ region }}.national_prefix)) = {{ region }}.national_prefix
            and {{ has_possible_length(rest, lengths) }}
            then {{ rest }}
        {%- endif %}
        {%- if not is_domestic %}
        when {{ drops_zero }} then {{ without_zero }}
        {%- endif %}
    end
{%- endmacro %}

{% macro without_phone_punctuation(text) -%}
    translate(
        {{ text }},
        '{{ "\uff10\uff11\uff12\uff13\uff14\uff15\uff16\uff17\uff18\uff19\uff0b" ~ phone_punctuation() }}',
        '0123456789+'
    )
{%- endmacro %}

{% macro phone_rest(text) -%}
    {#-
        What remains of a phone number that does not normalize: the first run of digits, in whatever
        decimal digits of Arabic script, without leading zeros
    -#}
    {%- set digits -%}
        translate(
            {{ text }},
            '{{ "\u0660\u0661\u0662\u0663\u0664\u0665\u0666\u0667\u0668\u0669"
            ~ "\u06f0\u06f1\u06f2\u06f3\u06f4\u06f5\u06f6\u06f7\u06f8\u06f9" }}',
            '01234567890123456789'
        )
    {%- endset -%}
    nullif(
        {{ without_leading(replace_matches(replace_matches(digits, "'^[^0-9]+'", "''"), "'[^0-9].*$'", "''"), '0') }}, ''
    )
{%- endmacro %}

{% macro spelled_channel(value) -%}
    {#-
        The channel that a value is spelled for. A refusal asks for it and not for the channel that the value
        was filed under: a number that was given for protection and filed as fax is held like any other
    -#}
    case
        when position('@' in {{ value }}) > 0 or position('{{ "\uff20" }}' in {{ value }}) > 0 then 'email'
        else 'phone'
    end
{%- endmacro %}

{# -- the common table expressions ------------------------------------------------------------ #}

{#
    Two relations, one of phone numbers and one of everything else, since each kind has its own way: no
    mailbox waits for a table of calling codes. Nearly every value is plain ASCII without white space, for
    which one short pattern answers what long lists of characters are there for; a branch of a case is
    computed for the rows that reach it only.
#}
{% macro normalize_identifiers(addresses, numbers, columns) %}
{{ normalize_addresses(addresses, columns) }},

{{ normalize_numbers(numbers, columns) }},

normalized_identifiers as (
    select {{ columns }}, normalized_value, national_number, trunk_number, normalization_fault, block_key
    from normalized_addresses

    union all

    select {{ columns }}, normalized_value, national_number, trunk_number, normalization_fault, block_key
    from normalized_numbers
)
{% endmacro %}

{% macro normalize_addresses(relation, columns) %}
trimmed_addresses as {{ computed_once() }} (
    select
        *,
        case
            when {{ matches('value', "'^[!-~]*$'") }} then value
            when {{ matches('value', "'^[ -~]*$'") }} then trim(both ' ' from value)
            else {{ trim_white_space('value') }}
        end as trimmed_value
    from {{ relation }}
),

read_addresses as {{ computed_once() }} (
    select
        *,
        channel = 'email' and {{ is_valid_email('trimmed_value', is_ascii=true) }} as is_plain_email
    from trimmed_addresses
),

folded_addresses as {{ computed_once() }} (
    select
        *,
        case
            when is_plain_email then lower(trimmed_value)
            when channel = 'email' and {{ is_valid_email('trimmed_value', is_ascii=false) }}
                then {{ lower_ascii('trimmed_value') }}
        end as email_text,
        case
            when is_plain_email then lower(trimmed_value)
            -- a value of an unknown channel, too: whatever it is, it may have been given for protection
            else {{ fold_for_blocking('trimmed_value') }}
        end as folded_value
    from read_addresses
),

normalized_addresses as (
    select
        {{ columns }},
        email_text as normalized_value,
        cast(null as varchar) as national_number,
        cast(null as varchar) as trunk_number,
        case
            when channel is null or channel <> 'email' then 'unknown_channel'
            when email_text is null then 'invalid_email'
        end as normalization_fault,
        {{ email_block_key('folded_value', 'is_plain_email') }} as block_key
    from folded_addresses
)
{% endmacro %}

{% macro normalize_numbers(relation, columns) %}
{#- three expressions over one seed: DuckDB prunes no column below an expression that is read twice -#}
record_regions as (
    select
        region_code, calling_code, international_prefix, national_prefix, other_national_prefix,
        possible_lengths
    from {{ ref('phone_regions') }}
),
{% for codes in ['international', 'prefixed'] %}
{{ codes }} as (
    select calling_code, national_prefix, other_national_prefix, possible_lengths
    from {{ ref('phone_regions') }}
    where is_main_region
),
{% endfor %}
read_numbers as {{ computed_once() }} (
    select
        *,
        {{ matches('value', "'^[+]?[0-9]+$'") }} as is_plain_number
    from {{ relation }}
),

spelled_numbers as {{ computed_once() }} (
    select
        *,
        case
            when is_plain_number then value
            when {{ matches('value', "'^[ -~]*$'") }} then {{ replace_matches('value', "'[] ./()[~-]'", "''") }}
            else {{ without_phone_punctuation('value') }}
        end as phone_text,
        not is_plain_number and {{ matches('value', bracketed_zero()) }} as has_bracketed_zero
    from read_numbers
),

dialled as {{ computed_once() }} (
    select
        spelled_numbers.*,
        record_regions.calling_code as record_calling_code,
        record_regions.national_prefix,
        record_regions.other_national_prefix,
        record_regions.possible_lengths,
        spelled_numbers.is_plain_number or {{ matches('spelled_numbers.phone_text', "'^[+]?[0-9]+$'") }} as is_phone_text,
        case
            when left(spelled_numbers.phone_text, 1) = '+' then substr(spelled_numbers.phone_text, 2)
            when left(spelled_numbers.phone_text, 2) = '00' then substr(spelled_numbers.phone_text, 3)
        end as international_digits,
        -- every alternative of such a pattern begins with a digit of its own: only where the first digit of the
        -- number is one of them need a pattern be read that differs from row to row
        case
            when record_regions.international_prefix <> '00'
                and position(left(spelled_numbers.phone_text, 1) in record_regions.international_prefix) > 0
                and {{ matches("spelled_numbers.phone_text", "'^(' || record_regions.international_prefix || ')[1-9]'") }}
                then {{ replace_matches("spelled_numbers.phone_text", "'^(' || record_regions.international_prefix || ')'", "''") }}
        end as prefixed_digits
    from spelled_numbers
    left join record_regions
        on spelled_numbers.country_code = record_regions.region_code
),

numbered as {{ computed_once() }} (
    select
        dialled.*,
        case
            when not dialled.is_phone_text then null
            else {{ national_significant_number(
                "substr(dialled.international_digits, length(international.calling_code) + 1)",
                "international", false, "left(dialled.phone_text, 1) = '+'"
            ) }}
        end as international_number,
        case
            when not dialled.is_phone_text then null
            else {{ national_significant_number(
                "substr(dialled.prefixed_digits, length(prefixed.calling_code) + 1)", "prefixed", false
            ) }}
        end as prefixed_number,
        case
            when not dialled.is_phone_text or dialled.international_digits is not null then null
            else {{ national_significant_number("dialled.phone_text", "dialled", true) }}
        end as domestic_number,
        international.calling_code as international_code,
        prefixed.calling_code as prefixed_code,
        international.national_prefix as international_national_prefix,
        prefixed.national_prefix as prefixed_national_prefix
    from dialled
    left join international
        on {{ calling_code('dialled.international_digits') }} = international.calling_code
    left join prefixed
        on {{ calling_code('dialled.prefixed_digits') }} = prefixed.calling_code
),

resolved as {{ computed_once() }} (
    select
        *,
        case
            when international_number is not null then international_code
            when prefixed_number is not null then prefixed_code
            else record_calling_code
        end as calling_code,
        case
            when international_number is not null then international_national_prefix
            when prefixed_number is not null then prefixed_national_prefix
            else national_prefix
        end as trunk_prefix,
        coalesce(international_number, prefixed_number, domestic_number) as national_digits
    from numbered
),

checked as {{ computed_once() }} (
    select
        *,
        -- one digit over and over is a placeholder, not a number; E.164 has room for 15 digits
        case
            when
                national_digits <> repeat(left(national_digits, 1), length(national_digits))
                and length(calling_code || national_digits) <= 15
                then national_digits
        end as national_number
    from resolved
),

normalized_numbers as (
    select
        {{ columns }},
        '+' || calling_code || national_number as normalized_value,
        national_number,
        coalesce(trunk_prefix, '') || national_number as trunk_number,
        case
            when national_number is not null then null
            when is_phone_text and record_calling_code is null and international_digits is null
                then 'phone_no_country'
            else 'invalid_phone'
        end as normalization_fault,
        case
            when national_number is not null then '+' || calling_code || national_number
            when has_bracketed_zero
                then {{ phone_rest(without_phone_punctuation(replace_matches('value', bracketed_zero(), "''"))) }}
            else {{ phone_rest('phone_text') }}
        end as block_key
    from checked
)
{% endmacro %}

{# -- rendering ------------------------------------------------------------------------------- #}

{% macro fold_mailbox(address, domains) -%}
    {#- Dots and the +suffix gone from the local part on these domains; an empty rest has no key -#}
    case
        when split_part({{ address }}, '@', 2) in ('{{ domains | join("', '") }}')
            then nullif(translate(split_part(split_part({{ address }}, '@', 1), '+', 1), '.', ''), '')
                || '@' || split_part({{ address }}, '@', 2)
        else {{ address }}
    end
{%- endmacro %}

{% macro render_identifier(normalized_value, rendering) -%}
    {#- The text that a profile hashes; the seed normalization_profiles says which profile uses which -#}
    case {{ rendering }}
        when 'email_lower_case' then lower({{ normalized_value }})
        when 'email_gmail_and_googlemail_folded'
            then {{ fold_mailbox("lower(" ~ normalized_value ~ ")", ["gmail.com", "googlemail.com"]) }}
        when 'email_ascii_lower_case_gmail_folded' then {{ fold_mailbox(normalized_value, ["gmail.com"]) }}
        when 'phone_with_plus' then {{ normalized_value }}
        when 'phone_digits' then substr({{ normalized_value }}, 2)
    end
{%- endmacro %}
