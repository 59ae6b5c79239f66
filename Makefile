MODULE_big = kafka_engine
EXTENSION = kafka_engine
DATA = sql/kafka_engine--1.0.sql
OBJS = $(patsubst %.cpp,%.o,$(wildcard src/*/*.cpp))
PG_CONFIG ?= pg_config
override with_llvm := no
PG_CPPFLAGS = -Isrc -D'PGDLLEXPORT=__attribute__((visibility("default")))'
PG_CXXFLAGS = -std=c++20 -fvisibility=hidden -MMD -MP -Wall -Wextra -Wno-register -Wno-missing-field-initializers -Wno-sign-compare -Wno-unused-parameter
SHLIB_LINK = -lrdkafka -lsimdjson -lstdc++ -pthread
PGXS := $(shell $(PG_CONFIG) --pgxs)
include $(PGXS)
-include $(OBJS:.o=.d)
