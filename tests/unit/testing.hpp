// cmocka for C++: include this last, since cmocka defines macros such as `fail`.
//
//     TEST(publish_skips_the_sender) { assert_int_equal(1 + 1, 2); }
//     TEST_MAIN()
//
// A file of tests is a program, whose argument may be a pattern with * and ?: only the tests that it matches. Several
// may be one program (REALTIME_TEST_GROUP, see tests/CMakeLists.txt), whose first argument is then the file's name.
//
// A test body that throws fails that one test and not the program. A failed assertion longjmps, so destructors of
// the body do not run: leak reports after a failure are noise.
#pragma once

#include <csetjmp>
#include <cstdarg>
#include <cstddef>
#include <cstdint>
#include <exception>
#include <map>
#include <string>
#include <string_view>
#include <vector>

extern "C" {
#include <cmocka.h>
}

namespace realtime::testing {

inline std::string stemOf(std::string_view path) // without folders and .cpp
{
    path.remove_prefix(path.rfind('/') + 1);
    return std::string(path.substr(0, path.find('.')));
}

inline std::map<std::string, std::vector<CMUnitTest>>& testsByFile()
{
    static std::map<std::string, std::vector<CMUnitTest>> all;
    return all;
}

inline bool add(const char* path, const char* name, CMUnitTestFunction body)
{
    testsByFile()[stemOf(path)].push_back({name, body, nullptr, nullptr, nullptr});
    return true;
}

inline int runTests(const std::string& file, const char* pattern)
{
    const auto found = testsByFile().find(file);
    if (found == testsByFile().end()) {
        print_error("no tests of %s here\n", file.c_str());
        return 1;
    }
    if (pattern != nullptr) {
        cmocka_set_test_filter(pattern);
    }
    return _cmocka_run_group_tests(file.c_str(), found->second.data(), found->second.size(), nullptr,
                                   nullptr);
}

} // namespace realtime::testing

#define TEST(name)                                                                                           \
    static void name##_body();                                                                               \
    static void name(void**)                                                                                 \
    {                                                                                                        \
        try {                                                                                                \
            name##_body();                                                                                   \
        } catch (const std::exception& e) {                                                                  \
            fail_msg("exception: %s", e.what());                                                             \
        }                                                                                                    \
    }                                                                                                        \
    static const bool name##_added = realtime::testing::add(__FILE__, #name, name);                          \
    static void name##_body()

#ifdef REALTIME_TEST_GROUP
#define TEST_MAIN()
#else
#define TEST_MAIN()                                                                                          \
    int main(int argc, char** argv)                                                                          \
    {                                                                                                        \
        return realtime::testing::runTests(realtime::testing::stemOf(__FILE__),                              \
                                           argc > 1 ? argv[1] : nullptr);                                    \
    }
#endif

// Compares bytes, so that NULs count and no terminator is needed; prints both on failure.
#define assert_text_equal(actual, expected)                                                                  \
    do {                                                                                                     \
        const std::string actual_(actual), expected_(expected); /* NOLINT(performance-*) */                  \
        if (actual_ != expected_) {                                                                          \
            fail_msg("got      \"%s\"\n    expected \"%s\"", actual_.c_str(), expected_.c_str());            \
        }                                                                                                    \
    } while (0)
