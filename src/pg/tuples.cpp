#include "pg/tuples.h"

extern "C" {
#include "access/heaptoast.h"
#include "access/htup_details.h"
#include "catalog/pg_type.h"
}

namespace ke::pg {

// --- the promise of decode/tuples.h, held against the server's headers ---
using decode::tuple_body;
using decode::tuple_head;
static_assert(sizeof(tuple_head) == HEAPTUPLESIZE && sizeof(tuple_head) == sizeof(HeapTupleData));
static_assert(offsetof(tuple_head, size) == offsetof(HeapTupleData, t_len));
static_assert(offsetof(tuple_head, self) == offsetof(HeapTupleData, t_self));
static_assert(sizeof(tuple_head::self) == sizeof(ItemPointerData));
static_assert(offsetof(tuple_head, table) == offsetof(HeapTupleData, t_tableOid));
static_assert(offsetof(tuple_head, body) == offsetof(HeapTupleData, t_data));
static_assert(sizeof(tuple_body::transactions) == offsetof(HeapTupleHeaderData, t_ctid));
static_assert(offsetof(tuple_body, self) == offsetof(HeapTupleHeaderData, t_ctid));
static_assert(offsetof(tuple_body, attributes) == offsetof(HeapTupleHeaderData, t_infomask2));
static_assert(offsetof(tuple_body, mask) == offsetof(HeapTupleHeaderData, t_infomask));
static_assert(offsetof(tuple_body, data_at) == offsetof(HeapTupleHeaderData, t_hoff));
static_assert(offsetof(tuple_body, nulls) == offsetof(HeapTupleHeaderData, t_bits) &&
              offsetof(tuple_body, nulls) == SizeofHeapTupleHeader);
static_assert(tuple_body::has_null == HEAP_HASNULL && tuple_body::has_varlena == HEAP_HASVARWIDTH);
static_assert(MaxHeapAttributeNumber <= HEAP_NATTS_MASK);
// BITMAPLEN is a function in server 18.
static_assert(MAXALIGN(SizeofHeapTupleHeader + (MaxHeapAttributeNumber + 7) / 8) <= UINT8_MAX);
static_assert(VARATT_SHORT_MAX == 127 && VARHDRSZ_SHORT == 1);

std::uint32_t most_size_of_tuples()
{
    return TOAST_TUPLE_THRESHOLD;
}

bool kind_in_tuple(const FormData_pg_attribute* a, decode::tuple_kind* kind)
{
    using decode::tuple_kind;
    if (a->attlen == -1 && a->attalign == TYPALIGN_INT) {
        *kind = a->attstorage == TYPSTORAGE_PLAIN ? tuple_kind::varlena : tuple_kind::packable;
        return true;
    }
    if (a->attlen == 16 && !a->attbyval && a->attalign == TYPALIGN_CHAR) {
        *kind = tuple_kind::uuid;
        return true;
    }
    static const struct {
        int length;
        char alignment;
        tuple_kind kind;
    } by_value[] = {{1, TYPALIGN_CHAR, tuple_kind::byte1},
                    {2, TYPALIGN_SHORT, tuple_kind::byte2},
                    {4, TYPALIGN_INT, tuple_kind::byte4},
                    {8, TYPALIGN_DOUBLE, tuple_kind::byte8}};
    for (const auto& k : by_value)
        if (a->attbyval && a->attlen == k.length && a->attalign == k.alignment) {
            *kind = k.kind;
            return true;
        }
    return false;
}

} // namespace ke::pg
