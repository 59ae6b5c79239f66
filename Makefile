# Every daily act is a target: make, install, installcheck, demo, check, unit, tap, bench, bench-micro,
# profile, chaos, fuzz, format, lint, setup. PG_CONFIG chooses the server; tests run on a private copy of it.
MODULE_big = kafka_engine
EXTENSION = kafka_engine
DATA = sql/kafka_engine--1.0.sql
OBJS = $(patsubst %.cpp,%.o,$(wildcard src/*/*.cpp))
REGRESS = $(filter-out $(EXTENSION)--%,$(patsubst sql/%.sql,%,$(sort $(wildcard sql/*.sql))))
REGRESS_OPTS = --load-extension=$(EXTENSION)
EXTRA_CLEAN = build test/lib/mock_broker test/lib/faults.so $(OBJS:.o=.d)

export PG_CONFIG ?= pg_config
TEST_PYTHON = $(shell test/lib/python)
override with_llvm := no
PG_CPPFLAGS = -Isrc -DNDEBUG -D'PGDLLEXPORT=__attribute__((visibility("default")))'
PG_CXXFLAGS = -std=c++20 -fvisibility=hidden -MMD -MP -Wall -Wextra -Wno-register \
	-Wno-missing-field-initializers -Wno-sign-compare -Wno-unused-parameter $(if $(WERROR),-Werror)
include src/libraries.mk
SHLIB_LINK = $(CORE_LIBRARIES) -lstdc++ -pthread -Wl,--version-script=src/exports.map

ifneq ($(filter setup demo check,$(MAKECMDGOALS)),)
setup:           ; @test/lib/setup
demo:            ; @test/demo/run
check:           ; @test/check
else # what follows needs a server's headers, which setup installs
PGXS := $(shell $(PG_CONFIG) --pgxs)
include $(PGXS)
-include $(OBJS:.o=.d)

ifdef QUICK # for a look, not for use: the headers that most files share are compiled once, -O1, no -g
override CXXFLAGS += -O1 -g0
$(filter src/pg/% src/topic/% src/stream/%,$(OBJS)): override CXXFLAGS += -include build/quick/server.h
$(OBJS): build/quick/server.h.gch
build/quick/server.h.gch: build/flags
	@mkdir -p $(@D); printf '#include "%s"\n' pg/compat.h ingest/hub.h > $(@:.gch=)
	$(CXX) $(CXXFLAGS) -fPIC $(CPPFLAGS) -x c++-header -o $@ $(@:.gch=)
endif

# On the server that PGHOST names, else on a private one with a mock broker.
pg_regress_installcheck = $(TEST_PYTHON) test/lib/private.py \
	$(top_builddir)/src/test/regress/pg_regress --inputdir=$(srcdir) --bindir='$(bindir)'
$(shlib): src/exports.map
$(patsubst %,src/decode/%.o,protobuf_files protobuf_schema codecs): override CPPFLAGS += $(CORE_FLAGS)
$(OBJS): build/flags # made anew when server, compiler or flags are others
build/flags: always
	@mkdir -p build; echo '$(includedir_server) $(VERSION) $(CXX) $(CXXFLAGS) $(WERROR) $(QUICK) $(CORE_FLAGS)' > $@.new; \
	 if cmp -s $@ $@.new; then rm $@.new; else mv $@.new $@; fi
endif

mock: test/lib/mock_broker test/lib/faults.so
test/lib/mock_broker: test/lib/mock_broker.cpp
	$(CXX) -std=c++20 -Wall -Wextra -O1 -g -o $@ $< -lrdkafka
test/lib/faults.so: test/lib/faults.cpp
	$(CXX) -std=c++20 -Wall -Wextra -O1 -g -shared -fPIC -o $@ $<
unit: $(if $(SANITIZE),,$(filter src/base/% src/kafka/% src/registry/% src/decode/% src/ingest/%,$(OBJS)))
	@$(MAKE) --no-print-directory -C test/unit run
tap: all mock    ; @$(TEST_PYTHON) -m pytest -q $(or $(TESTS),test/flow)
bench: all mock  ; @$(TEST_PYTHON) test/bench/run.py
profile: all mock ; @$(TEST_PYTHON) test/bench/run.py profile
CORE_OBJS = $(filter src/base/% src/registry/% src/decode/%,$(OBJS))
bench-micro: build/micro/micro $(if $(MODE),,build/micro/conversions.so)
	@test/micro/run $< $(MODE)
	@$(if $(MODE),,$(TEST_PYTHON) test/micro/conversions.py build/micro/conversions.so)
build/micro/conversions.so: test/micro/conversions.cpp $(CORE_OBJS)
	@mkdir -p $(@D); $(CXX) $(CXXFLAGS) -fPIC $(CPPFLAGS) -shared -o $@ $^ $(CORE_LIBRARIES)
build/micro/micro: test/micro/micro.cpp $(CORE_OBJS)
	@mkdir -p $(@D); $(CXX) -std=c++20 -O2 -g -Wall -Wextra -Wno-missing-field-initializers -Isrc -o $@ $^ $(CORE_LIBRARIES)
chaos: all mock  ; @$(TEST_PYTHON) test/chaos/chaos.py $(if $(ROUNDS),--rounds $(ROUNDS)) $(if $(SEED),--seed $(SEED))
fuzz:            ; @$(MAKE) --no-print-directory -C test/fuzz run
lint: all        ; @test/lint.sh
format:          ; @clang-format -i src/*/*.h src/*/*.cpp test/*/*.h test/*/*.cpp
.PHONY: always mock setup demo check unit tap bench profile bench-micro chaos fuzz lint format
