// Runs the unit tests: no server, no broker, one process. The last line counts them.
#include "check.h"

#include <cstdio>
#include <cstring>

namespace ke::test {

namespace {
int failures; // of the running test
}

void fail(const char* file, int line, const std::string& what)
{
    failures++;
    std::printf("%s:%d: %s\n", file, line, what.c_str());
}

namespace {

bool wanted(const test_case& t, int argc, char** argv)
{
    if (argc < 2)
        return true;
    for (int i = 1; i < argc; i++)
        if (std::strstr(t.name, argv[i]) || std::strstr(t.file, argv[i]))
            return true;
    return false;
}

bool passes(const test_case& t)
{
    failures = 0;
    try {
        t.body();
    } catch (const required_failed&) {
    } catch (const std::exception& e) {
        fail(t.file, 0, std::string("exception: ") + e.what());
    }
    return failures == 0;
}

int run(int argc, char** argv)
{
    int passed = 0, failed = 0;
    for (const test_case& t : all_tests()) {
        if (!wanted(t, argc, argv))
            continue;
        const bool ok = passes(t);
        ok ? passed++ : failed++;
        if (!ok)
            std::printf("FAILED %s (%s)\n", t.name, t.file);
        std::fflush(stdout);
    }
    std::printf("unit: %d passed, %d failed\n", passed, failed);
    return failed != 0;
}

} // namespace
} // namespace ke::test

int main(int argc, char** argv)
{
    return ke::test::run(argc, argv);
}
