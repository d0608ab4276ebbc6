#include "base/hmac.hpp"

#include "testing.hpp"

using namespace realtime;

TEST(hmac_gives_the_digests_of_rfc_4231)
{
    assert_text_equal(hmacSha256Hex(std::string(20, '\x0b'), "Hi There"),
                      "b0344c61d8db38535ca8afceaf0bf12b881dc200c9833da726e9376c2e32cff7");
    assert_text_equal(hmacSha256Hex("Jefe", "what do ya want for nothing?"),
                      "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843");
    assert_text_equal(hmacSha256Hex(std::string(20, '\xaa'), std::string(50, '\xdd')),
                      "773ea91e36800e46854db8ebd09181a72959098b3ef8c122d9635514ced565fe");
    assert_text_equal(
        hmacSha256Hex(std::string(131, '\xaa'), "Test Using Larger Than Block-Size Key - Hash Key First"),
        "60e431591ee0b67f0d8a26aacbf5b77f8e0bc6213728c5140546040f0ee37f54");
}

TEST(empty_key_and_text_are_legal)
{
    assert_text_equal(hmacSha256Hex({}, {}),
                      "b613679a0814d9ec772f95d778c35fc5ff1697c493715653c6c712144292c5ad");
    assert_text_equal(hmacSha256Hex({}, "text"), hmacSha256Hex("", "text"));
    assert_text_equal(md5Hex({}), "d41d8cd98f00b204e9800998ecf8427e");
}

TEST(md5_gives_the_digests_of_rfc_1321)
{
    assert_text_equal(md5Hex("abc"), "900150983cd24fb0d6963f7d28e17f72");
    assert_text_equal(md5Hex("message digest"), "f96b697d7cb7938d525a2f31aaf161d0");
    assert_text_equal(md5Hex("{}"), "99914b932bd37a50b983c5e7c90ae93b");
}

TEST(comparison_is_of_whole_texts)
{
    assert_true(equalInConstantTime("", {}));
    assert_true(equalInConstantTime("abc", "abc"));
    assert_false(equalInConstantTime("abc", "abd"));
    assert_false(equalInConstantTime("abc", "xbc"));
    assert_false(equalInConstantTime("abc", "ab"));
    assert_false(equalInConstantTime("", "a"));
    assert_true(equalInConstantTime(std::string_view("a\0b", 3), std::string_view("a\0b", 3)));
    assert_false(equalInConstantTime(std::string_view("a\0b", 3), std::string_view("a\0c", 3)));
}

TEST_MAIN()
