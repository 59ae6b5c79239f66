#!/bin/bash
# What a compiler does not check: the promises of src/README.md about folders, names that must agree,
# words that must not appear. Prints what is wrong with its place; the exit code says whether anything.
cd "$(dirname "$0")/.." || exit 1
shopt -s lastpipe # a rule at the end of a pipe counts in this shell
failures=0

wrong() { # RULE, then what was found, a line each
    echo "lint: $1:"
    sed 's/^/    /'
    failures=$((failures + 1))
}

expect_nothing() { # RULE: standard input must be empty
    local found
    found=$(cat)
    [ -z "$found" ] || wrong "$1" <<<"$found"
}

sources() { find "${@:-src}" -name '*.cpp' -o -name '*.h'; }

# ------------------------------------------------------------------ folders and what they may include

declare -A may=(
    [base]="base"
    [kafka]="base kafka"
    [registry]="base registry"
    [decode]="base registry decode"
    [ingest]="base kafka registry decode ingest"
    [pg]="base kafka registry decode ingest pg"
    [topic]="base kafka registry decode ingest pg topic"
    [stream]="base kafka registry decode ingest pg topic stream"
)
for folder in "${!may[@]}"; do
    ours=$(tr ' ' '|' <<<"${!may[*]}")
    allowed=$(tr ' ' '|' <<<"${may[$folder]}")
    grep -nE "#include \"($ours)/" -r "src/$folder" --include='*.cpp' --include='*.h' |
        grep -vE "#include \"($allowed)/" |
        expect_nothing "src/$folder may include only ${may[$folder]}"
done
for folder in base kafka registry decode ingest; do
    grep -nE '#include "' -r src/$folder --include='*.cpp' --include='*.h' |
        grep -vE '#include "(base|kafka|registry|decode|ingest)/' |
        expect_nothing "src/$folder is above the border: no server headers"
    grep -L '#include "base/no_backend.h"' src/$folder/*.cpp 2>/dev/null |
        expect_nothing "each .cpp of src/$folder includes base/no_backend.h last"
done
home() { # each third-party header has one home
    grep -nE "#include <$2" -r src --include='*.cpp' --include='*.h' | grep -vE "^src/($1)/" |
        expect_nothing "$2 is included by src/$1 only"
}
home kafka 'librdkafka/'
home kafka 're2/'
home 'decode|registry' 'simdjson'
home registry 'curl/'
home decode 'google/protobuf/'
home decode '(zlib|snappy-c|zstd|bzlib|lzma)\.h'
home ingest 'boost/'

# ------------------------------------------------------------------ the border

grep -n 'PG_VERSION_NUM' -r src --include='*.cpp' --include='*.h' |
    grep -v -e '^src/pg/compat.h' -e '^src/base/no_backend.h' |
    expect_nothing "server versions are told apart in src/pg/compat.h only"
grep -nE '\bPG_(TRY|CATCH|FINALLY)\b' -r src --include='*.cpp' --include='*.h' |
    grep -v '^src/pg/guard.cpp' | grep -vE ':[0-9]+: *(//|\*)' |
    expect_nothing "PG_TRY stands in src/pg/guard.cpp only"

if [ -f kafka_engine.so ]; then
    nm -D --defined-only kafka_engine.so | awk '{print $3}' |
        grep -vE '^(Pg_magic_func|_PG_init|(pg_finfo_)?kafka_engine_[a-z_0-9]+)$' |
        expect_nothing "exported though the server does not need it"
    grep -oE "'MODULE_PATHNAME', *'[a-z_0-9]+'" sql/kafka_engine--*.sql | grep -oE "'[a-z_0-9]+'$" |
        tr -d "'" | sort -u |
        while read -r f; do
            nm -D --defined-only kafka_engine.so | grep -q " $f\$" || echo "$f"
        done | expect_nothing "functions of the SQL script that the library does not export"
fi

# ------------------------------------------------------------------ names that must agree

for f in sql/*.sql; do
    name=$(basename "$f" .sql)
    case $name in kafka_engine--*) continue ;; esac
    [ -f "expected/$name.out" ] || echo "$f"
done | expect_nothing "an input of psql's tests without its expected/*.out"
for f in expected/*.out; do
    [ -e "$f" ] || continue
    name=$(basename "$f" .out)
    [ -f "sql/${name%_[0-9]}.sql" ] || [ -f "sql/$name.sql" ] || echo "$f"
done | expect_nothing "an expected output without its input"

version=$(sed -n "s/^default_version = '\(.*\)'/\1/p" kafka_engine.control)
{
    [ -f "sql/kafka_engine--$version.sql" ] || echo "sql/kafka_engine--$version.sql is missing"
    grep -q "^DATA = .*kafka_engine--$version.sql" Makefile || echo Makefile
    grep -q "version: '$version'" meson.build || echo meson.build
    grep -q "kafka_engine--$version.sql" META.json || echo "META.json (file)"
    [ "$(grep -c "\"version\": \"$version.0\"" META.json)" = 3 ] || echo "META.json (version)"
    grep -m1 '^## ' CHANGELOG.md | grep -q "^## $version\b" || echo CHANGELOG.md
} | expect_nothing "the version is $version, here it is not"

# What a user can name, by the SQL script and the tables in the code, stands in README. Functions that
# only serve our own views, triggers and the wrapper do not.
inner='mean|variance|state_[a-z]+|partial(_[a-z]+)?|combine|newest(_step)?|sample_[a-z]+|final|absence|live_views|workers_of|ends|progress_of|running_workers|fdw_[a-z]+|check_(columns|references)|on_[a-z_]+'
{
    grep -hoE '^CREATE (FUNCTION|VIEW|PROCEDURE) kafka\.[a-z_]+' sql/kafka_engine--*.sql |
        grep -oE 'kafka\.[a-z_]+$' | grep -vxE "kafka\.($inner)"
    grep -hoE '^ *\{"kafka\.[a-z_]+", &' src/pg/guc.cpp | grep -oE 'kafka\.[a-z_]+' # settings
    grep -hoE '^ *\{"[a-z_]+", [a-z]' src/stream/options.cpp | sed -E 's/.*"(.*)".*/kafka.\1/'
    grep -hoE '^ *\{"[a-z_]+", place::' src/topic/options.cpp | sed -E 's/.*"(.*)".*/`\1`/'
    grep -hoE '^ *\{"[a-z_]+", role::' src/topic/columns.cpp | sed -E 's/.*"(.*)".*/`_\1`/'
} | sort -u |
    while read -r name; do
        grep -qF "$name" README.md || echo "$name"
    done | expect_nothing "not in README.md"

# ------------------------------------------------------------------ words and shapes

sources | xargs grep -nE '\b(TODO|FIXME|XXX|HACK)\b' |
    expect_nothing "a promise instead of the thing"
grep -nE '\btime\.sleep\(' -r test/flow --include='*.py' | # pg_sleep may stand for a slow query
    expect_nothing "tests wait for a condition (test/lib/wait.py), they do not sleep"
git ls-files -z 2>/dev/null | xargs -0 -r grep -nIE '(^|[^a-z])/(work|opt/pg)[-/]|\bissue [0-9]' -- 2>/dev/null |
    grep -v '^test/lint.sh' |
    expect_nothing "the tree speaks of itself, not of a machine or a list of work"
sources src test | xargs grep -nE "$(printf '\t')| +$" |
    expect_nothing "tabs, or blanks at a line's end"
for f in test/check test/lint.sh test/lib/setup test/lib/python test/lib/broker test/demo/run .ci/run; do
    bash -n $f 2>&1
    [ -x $f ] || echo "$f is not executable"
done | expect_nothing "scripts that do not parse or do not run"

# ------------------------------------------------------------------ warnings

# Comments and texts are left as they are written.
long=$(sources src test | xargs -d '\n' grep -hE '^.{101,}$' | grep -vcE '^ *//|["\]')
[ "$long" = 0 ] || echo "lint: warning: $long lines of more than 100 columns: make format"

{ sources src test; find test sql -name '*.py' -o -name '*.sh'; } | xargs wc -l |
    awk '$2 != "total" && $1 > 500 {print "lint: warning: " $2 " has " $1 " lines: split it by noun"}'

[ $failures = 0 ] && echo "lint: nothing wrong"
exit $((failures > 0))
