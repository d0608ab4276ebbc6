#include "wire/pusher_auth.hpp"

#include "base/hmac.hpp"

#include "testing.hpp"

using namespace realtime;
using namespace realtime::pusher;

namespace {

constexpr std::string_view Key = "k9f3c2a17be40d5561aa";
constexpr std::string_view Secret = "s2d81e6f04c7b93a5512";
constexpr std::string_view SocketId = "310462.91724455";

const std::vector<Credentials> Pairs{{std::string(Key), std::string(Secret)}, {"second", "other-secret"}};

std::string auth(std::string_view signature)
{
    return std::string(Key) + ':' + std::string(signature);
}

std::string sign(std::string_view secret, std::string_view text)
{
    return hmacSha256Hex(secret, text);
}

AuthResult verify(std::string_view channel, std::optional<std::string_view> data, std::string_view text)
{
    return verifyChannelAuth(Pairs, SocketId, channel, data, text);
}

} // namespace

TEST(the_vectors_of_the_specification_verify)
{
    assert_true(verify("private-orders-42", std::nullopt,
                       auth("a50477f0dc7fafcfc3f41a9bbcee17edd48b32c30125fe8f3d707ea63501677e")) ==
                AuthResult::Ok);
    assert_true(verify("presence-room-7", R"({"user_id":"u-17","user_info":{"name":"Ada"}})",
                       auth("710984e414f6077fad0a27a34f079b252bb18afe5977843d704bd4d776c1b9c8")) ==
                AuthResult::Ok);
    assert_true(verify("presence-room-7", std::nullopt,
                       auth("841af7274d4f00c0a4c1a0e55088dc24c6742c6352a61d85d448f09803e52840")) ==
                AuthResult::Ok);
    assert_true(verify("presence-room-7", R"({"user_id":"u-17","user_info":{"name":"Zo\u00eb \/ \"Z\""}})",
                       auth("0966dca0623c2798c66cc17472af07e60f3a177c2e6d305a6917011fafa12a52")) ==
                AuthResult::Ok);
    assert_true(verifyUserAuth(Pairs, SocketId,
                               R"({"id":"u-17","user_info":{"name":"Ada"},"watchlist":["u-18","u-19"]})",
                               auth("41154f457c414d16121b663e03cbad90ca945d2a668203d23fed80a38df7c794")) ==
                AuthResult::Ok);
}

TEST(each_mistake_has_its_name)
{
    const std::string right = auth("a50477f0dc7fafcfc3f41a9bbcee17edd48b32c30125fe8f3d707ea63501677e");
    const struct {
        std::string auth;
        AuthResult expected;
    } cases[] = {
        {"", AuthResult::Missing},
        {"nonsense", AuthResult::Malformed},
        {":", AuthResult::WrongKey},
        {"abc:" + right.substr(Key.size() + 1), AuthResult::WrongKey},
        {auth(""), AuthResult::WrongSignature},
        {right.substr(0, right.size() - 1), AuthResult::WrongSignature},
        {right + "0", AuthResult::WrongSignature},
        {right + ":", AuthResult::WrongSignature},
        {auth(std::string(64, '0')), AuthResult::WrongSignature},
        {auth("A50477F0DC7FAFCFC3F41A9BBCEE17EDD48B32C30125FE8F3D707EA63501677E"),
         AuthResult::WrongSignature},
        {right, AuthResult::Ok},
    };
    for (const auto& each : cases) {
        const AuthResult result = verify("private-orders-42", std::nullopt, each.auth);
        if (result != each.expected) {
            fail_msg("%s: %d", each.auth.c_str(), static_cast<int>(result));
        }
        assert_false(describe(result).empty());
    }
}

TEST(a_signature_holds_for_one_socket_one_channel_and_one_text)
{
    const std::string right = auth(sign(Secret, "1.2:private-a:data"));
    assert_true(verifyChannelAuth(Pairs, "1.2", "private-a", "data", right) == AuthResult::Ok);
    assert_true(verifyChannelAuth(Pairs, "1.3", "private-a", "data", right) == AuthResult::WrongSignature);
    assert_true(verifyChannelAuth(Pairs, "1.2", "private-b", "data", right) == AuthResult::WrongSignature);
    assert_true(verifyChannelAuth(Pairs, "1.2", "private-a", "data ", right) == AuthResult::WrongSignature);
    assert_true(verifyChannelAuth(Pairs, "1.2", "private-a", std::nullopt, right) ==
                AuthResult::WrongSignature);
    assert_true(verifyChannelAuth(Pairs, "1.2", "private-a", "", right) == AuthResult::WrongSignature);
}

TEST(empty_channel_data_is_accepted_with_and_without_its_colon)
{
    assert_true(verifyChannelAuth(Pairs, "1.2", "private-a", "", auth(sign(Secret, "1.2:private-a"))) ==
                AuthResult::Ok);
    assert_true(verifyChannelAuth(Pairs, "1.2", "private-a", "", auth(sign(Secret, "1.2:private-a:"))) ==
                AuthResult::Ok);
    assert_true(verifyChannelAuth(Pairs, "1.2", "private-a", std::nullopt,
                                  auth(sign(Secret, "1.2:private-a:"))) == AuthResult::WrongSignature);
}

TEST(channel_data_can_not_be_added_to_a_signature_without_it)
{
    const std::string plain = auth(sign(Secret, "1.2:presence-a"));
    assert_true(verifyChannelAuth(Pairs, "1.2", "presence-a", std::nullopt, plain) == AuthResult::Ok);
    assert_true(verifyChannelAuth(Pairs, "1.2", "presence-a", R"({"user_id":"admin"})", plain) ==
                AuthResult::WrongSignature);
    assert_true(verifyChannelAuth(Pairs, "1.2", "presence-a", " ", plain) == AuthResult::WrongSignature);
}

TEST(each_key_goes_with_its_own_secret)
{
    assert_true(verifyChannelAuth(Pairs, "1.2", "private-a", std::nullopt,
                                  "second:" + sign("other-secret", "1.2:private-a")) == AuthResult::Ok);
    assert_true(verifyChannelAuth(Pairs, "1.2", "private-a", std::nullopt,
                                  "second:" + sign(Secret, "1.2:private-a")) == AuthResult::WrongSignature);
    assert_true(verifyChannelAuth({}, "1.2", "private-a", std::nullopt,
                                  "second:" + sign("other-secret", "1.2:private-a")) == AuthResult::WrongKey);
}

TEST(a_sign_in_is_refused_as_a_subscribe_is)
{
    assert_true(verifyUserAuth(Pairs, "1.2", "{}", "") == AuthResult::Missing);
    assert_true(verifyUserAuth(Pairs, "1.2", "{}", "x") == AuthResult::Malformed);
    assert_true(verifyUserAuth(Pairs, "1.2", "{}", "x:y") == AuthResult::WrongKey);
    assert_true(verifyUserAuth(Pairs, "1.2", "{}", auth(sign(Secret, "1.2::user::{} "))) ==
                AuthResult::WrongSignature);
    assert_true(verifyUserAuth(Pairs, "1.2", "{}", auth(sign(Secret, "1.2:{}"))) ==
                AuthResult::WrongSignature);
}

TEST(no_description_tells_what_came)
{
    for (const AuthResult result :
         {AuthResult::Missing, AuthResult::Malformed, AuthResult::WrongKey, AuthResult::WrongSignature}) {
        assert_true(describe(result).find(Key) == std::string_view::npos);
        assert_true(!describe(result).empty());
    }
}

TEST_MAIN()
