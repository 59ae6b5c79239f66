#include "topic/given_headers.h"

extern "C" {
#include "utils/builtins.h"
#include "utils/fmgrprotos.h"
}

#include <cstring>

namespace ke::topic {

namespace {

[[noreturn]] void refuse_headers()
{
    ereport(
        ERROR,
        (errcode(ERRCODE_INVALID_PARAMETER_VALUE), errmsg("headers are not as in _headers"),
         errhint("Give an array such as [{\"name\": \"a\", \"value\": \"b\"}], with \"base64\": "
                 "true beside values that are not text.")));
    pg_unreachable();
}

JsonbValue* member(JsonbContainer* object, const char* key, JsonbValue* space)
{
    return getKeyJsonValueFromContainer(object, key, static_cast<int>(strlen(key)), space);
}

bytes from_base64(const JsonbValue* v)
{
    Datum raw = DirectFunctionCall2(
        binary_decode,
        PointerGetDatum(cstring_to_text_with_len(v->val.string.val, v->val.string.len)),
        CStringGetTextDatum("base64"));
    bytea* b = DatumGetByteaPP(raw);
    return {VARDATA_ANY(b), static_cast<std::size_t>(VARSIZE_ANY_EXHDR(b))};
}

given_header read_header(JsonbContainer* object)
{
    JsonbValue name, value, base64;
    if (!member(object, "name", &name) || name.type != jbvString)
        refuse_headers();
    given_header h{pnstrdup(name.val.string.val, name.val.string.len), {}};
    if (!member(object, "value", &value) || value.type == jbvNull)
        return h;
    if (value.type != jbvString)
        refuse_headers();
    if (member(object, "base64", &base64) && base64.type == jbvBool && base64.val.boolean)
        h.value = from_base64(&value);
    else
        h.value = {pnstrdup(value.val.string.val, value.val.string.len),
                   static_cast<std::size_t>(value.val.string.len)};
    return h;
}

} // namespace

given_headers read_headers(Jsonb* jsonb)
{
    given_headers given{};
    if (!JB_ROOT_IS_ARRAY(jsonb) || JB_ROOT_IS_SCALAR(jsonb))
        refuse_headers();
    given.all =
        static_cast<given_header*>(palloc0(sizeof(given_header) * (JB_ROOT_COUNT(jsonb) + 1)));
    JsonbIterator* it = JsonbIteratorInit(&jsonb->root);
    JsonbValue v;
    JsonbIteratorToken token;
    while ((token = JsonbIteratorNext(&it, &v, true)) != WJB_DONE) {
        if (token != WJB_ELEM)
            continue;
        if (v.type != jbvBinary || !JsonContainerIsObject(v.val.binary.data))
            refuse_headers();
        given.all[given.count++] = read_header(v.val.binary.data);
    }
    return given;
}

} // namespace ke::topic
