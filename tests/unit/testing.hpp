// cmocka for C++: include this last, since cmocka defines macros such as `fail`.
//
//     TEST(publish_skips_the_sender) { assert_int_equal(1 + 1, 2); }
//     TEST_MAIN()
//
// A test body that throws fails that one test and not the program. A failed assertion longjmps, so destructors of
// the body do not run: leak reports after a failure are noise.
#pragma once

#include <csetjmp>
#include <cstdarg>
#include <cstddef>
#include <cstdint>
#include <exception>
#include <string>
#include <string_view>
#include <vector>

extern "C" {
#include <cmocka.h>
}

namespace realtime::testing {

inline std::vector<CMUnitTest>& tests()
{
    static std::vector<CMUnitTest> all;
    return all;
}

inline bool add(const char* name, CMUnitTestFunction body)
{
    tests().push_back({name, body, nullptr, nullptr, nullptr});
    return true;
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
    static const bool name##_added = realtime::testing::add(#name, name);                                    \
    static void name##_body()

#define TEST_MAIN()                                                                                          \
    int main(int argc, char** argv)                                                                          \
    {                                                                                                        \
        auto& all = realtime::testing::tests();                                                              \
        if (argc > 1) {                                                                                      \
            cmocka_set_test_filter(argv[1]); /* a pattern with * and ?: only these tests */                  \
        }                                                                                                    \
        return _cmocka_run_group_tests(__FILE__, all.data(), all.size(), nullptr, nullptr);                  \
    }

// Compares bytes, so that NULs count and no terminator is needed; prints both on failure.
#define assert_text_equal(actual, expected)                                                                  \
    do {                                                                                                     \
        const std::string actual_(actual), expected_(expected); /* NOLINT(performance-*) */                  \
        if (actual_ != expected_) {                                                                          \
            fail_msg("got      \"%s\"\n    expected \"%s\"", actual_.c_str(), expected_.c_str());            \
        }                                                                                                    \
    } while (0)
