# What the code above the border is linked with; for the Makefile and those of the tests. Protobuf's
# library and those of Avro's codecs may be missing: their format or codec then says so when it is asked for.
header = $(wildcard $(addsuffix /$(1),/usr/include /usr/local/include))
PROTOBUF := $(if $(call header,google/protobuf/compiler/parser.h),-lprotobuf)
ZLIB := $(if $(call header,zlib.h),-lz)
SNAPPY := $(if $(and $(ZLIB),$(call header,snappy-c.h)),-lsnappy)# its checksum is zlib's
ZSTD := $(if $(call header,zstd.h),-lzstd)
BZIP2 := $(if $(call header,bzlib.h),-lbz2)
LZMA := $(if $(call header,lzma.h),-llzma)
OPTIONAL := PROTOBUF ZLIB SNAPPY ZSTD BZIP2 LZMA
CORE_FLAGS := $(foreach l,$(OPTIONAL),$(if $($l),-DKE_$l))# for src/decode/{protobuf_{files,schema},codecs}.cpp
NEEDED_LIBRARIES := -lrdkafka -lsimdjson -lcurl -lre2
CORE_LIBRARIES := $(NEEDED_LIBRARIES) $(foreach l,$(OPTIONAL),$($l))
