# What the code above the border is linked with; for the Makefile and those of the tests. Protobuf's
# library may be missing: its format then says so when it is asked for.
PROTOBUF := $(if $(wildcard $(addsuffix /google/protobuf/compiler/parser.h,/usr/include /usr/local/include)),-lprotobuf)
CORE_FLAGS := $(if $(PROTOBUF),-DKE_PROTOBUF) # for src/decode/protobuf_{files,schema}.cpp
CORE_LIBRARIES := -lrdkafka -lsimdjson -lcurl $(PROTOBUF)
