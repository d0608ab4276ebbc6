#include "app/channel_rule.hpp"

#include <algorithm>
#include <chrono>
#include <stdexcept>

#include "testing.hpp"

using namespace realtime;

namespace {

// "no", or the captures behind [0], named ones with their names.
std::string match(std::string_view pattern, std::string_view channel)
{
    Captures captures;
    captures.numbered = {"left", "over"};
    captures.named = {{"left", "over"}};
    if (!ChannelPattern(pattern).match(channel, captures)) {
        return "no";
    }
    assert_true(captures.numbered.at(0) == channel);
    std::string all = "yes";
    for (std::size_t i = 1; i < captures.numbered.size(); ++i) {
        all += " <" + std::string(captures.numbered[i]) + ">";
    }
    return all;
}

std::string patternError(std::string_view text)
{
    try {
        const ChannelPattern pattern(text);
    } catch (const std::runtime_error& e) {
        return e.what();
    }
    return "none";
}

std::string keyError(std::string_view text, const ChannelPattern* pattern = nullptr)
{
    try {
        const RoutingKey key(text, pattern);
    } catch (const std::runtime_error& e) {
        return e.what();
    }
    return "none";
}

bool contains(const std::string& text, std::string_view part)
{
    return text.find(part) != std::string::npos;
}

std::string expand(std::string_view key, std::string_view patternText, std::string_view channel)
{
    const ChannelPattern pattern(patternText);
    Captures captures;
    assert_true(pattern.match(channel, captures));
    return RoutingKey(key, &pattern).expand("shop", channel, "created", captures);
}

} // namespace

TEST(a_pattern_without_stars_is_the_name)
{
    assert_text_equal(match("orders", "orders"), "yes");
    assert_text_equal(match("orders", "orders2"), "no");
    assert_text_equal(match("orders", "order"), "no");
    assert_text_equal(match("a.b", "axb"), "no"); // a dot is a dot
    assert_text_equal(match("a[b]$^(c)?", "a[b]$^(c)?"), "yes");
}

TEST(a_star_matches_any_run_as_short_as_it_can)
{
    assert_text_equal(match("*", "anything at all"), "yes <anything at all>");
    assert_text_equal(match("orders.*", "orders.17"), "yes <17>");
    assert_text_equal(match("orders.*", "orders."), "yes <>");
    assert_text_equal(match("orders.*", "orders.a.b"), "yes <a.b>");
    assert_text_equal(match("orders.*", "orders"), "no");
    assert_text_equal(match("orders.*", "xorders.1"), "no");
    assert_text_equal(match("*.orders", "a.b.orders"), "yes <a.b>");
    assert_text_equal(match("a*b", "ab"), "yes <>");
    assert_text_equal(match("a*b", "axbxb"), "yes <xbx>");
    assert_text_equal(match("a*b", "a"), "no");
    assert_text_equal(match("*.*.x", "a.b.c.x"), "yes <a> <b.c>");
    assert_text_equal(match("a*a", "a"), "no"); // the two may not share it
    assert_text_equal(match("ab*ba", "aba"), "no");
    assert_text_equal(match("*ab*ab", "abab"), "yes <> <>");
    assert_text_equal(match("*ab*ab", "ab"), "no");
    assert_text_equal(match("**", "ab"), "yes <> <ab>");
    assert_text_equal(match("a**b", "axb"), "yes <> <x>");
    assert_text_equal(match("gr\xc3\xbc*", "gr\xc3\xbc\xc3\x9f"), "yes <\xc3\x9f>");
}

namespace {

// The definition, word for word: each star as short as it can be, the first one first.
bool lazily(std::string_view pattern, std::string_view name, std::vector<std::string>& captures)
{
    if (pattern.empty()) {
        return name.empty();
    }
    if (pattern[0] != '*') {
        return !name.empty() && pattern[0] == name[0] && lazily(pattern.substr(1), name.substr(1), captures);
    }
    for (std::size_t size = 0; size <= name.size(); ++size) {
        captures.emplace_back(name.substr(0, size));
        if (lazily(pattern.substr(1), name.substr(size), captures)) {
            return true;
        }
        captures.pop_back();
    }
    return false;
}

// All words of up to `longest` letters over an alphabet.
std::vector<std::string> words(std::string_view alphabet, std::size_t longest)
{
    std::vector<std::string> all{""};
    for (std::size_t from = 0; from < all.size() && all[from].size() < longest; ++from) {
        for (const char c : alphabet) {
            all.push_back(all[from] + c);
        }
    }
    return all;
}

} // namespace

TEST(stars_agree_with_the_definition_for_all_short_patterns)
{
    const auto names = words("ab", 6);
    for (const std::string& text : words("ab*", 5)) {
        if (text.empty()) {
            continue;
        }
        const ChannelPattern pattern(text);
        for (const std::string& name : names) {
            std::vector<std::string> expected;
            const bool matches = lazily(text, name, expected);
            Captures captures;
            const bool got = pattern.match(name, captures);
            const bool same = got == matches &&
                              (!got || std::equal(expected.begin(), expected.end(),
                                                  captures.numbered.begin() + 1, captures.numbered.end()));
            if (!same) {
                fail_msg("%s on %s", text.c_str(), name.c_str());
            }
        }
    }
}

TEST(a_regex_is_unanchored_and_captures)
{
    assert_text_equal(match("~b", "abc"), "yes");
    assert_text_equal(match("~^b", "abc"), "no");
    assert_text_equal(match("~^analytics\\.(?<tenant>\\w+)$", "analytics.acme"), "yes <acme>");
    assert_text_equal(match("~^(a)?(b)?(c)$", "c"), "yes <> <> <c>"); // groups that took no part are empty
    assert_text_equal(match("~^(a)(?:(b))?", "a"), "yes <a> <>");
    assert_text_equal(match("~^.$", "\xe2\x82\xac"), "yes"); // characters, not bytes
    assert_text_equal(match("~(?i)^ORDERS", "orders.1"), "yes");
    assert_text_equal(match("~.", "\xff"), "no"); // not UTF-8: no match, no crash
}

TEST(named_captures_are_found_by_name)
{
    const ChannelPattern pattern("~^(?<first>\\w+)\\.(\\w+)\\.(?<third>\\w+)?");
    Captures captures;
    assert_true(pattern.match("a.b.", captures));
    assert_int_equal(captures.named.size(), 2);
    for (const auto& [name, value] : captures.named) {
        assert_text_equal(value, name == "first" ? "a" : "");
    }
    assert_true(pattern.hasCapture("first"));
    assert_true(pattern.hasCapture("3"));
    assert_true(pattern.hasCapture("0"));
    assert_false(pattern.hasCapture("4"));
    assert_false(pattern.hasCapture("second"));
    assert_false(pattern.hasCapture(""));
    assert_false(pattern.hasCapture("99999999999999999999999"));
    assert_true(ChannelPattern("a*b*").hasCapture("2"));
    assert_false(ChannelPattern("a*b*").hasCapture("3"));
    assert_false(ChannelPattern("a*b*").hasCapture("a"));
}

TEST(a_failed_match_leaves_no_captures)
{
    for (const char* text : {"a*b*c", "~^(a)(b)$"}) {
        Captures captures;
        captures.numbered = {"x"};
        assert_false(ChannelPattern(text).match("a-b-", captures));
        assert_true(captures.numbered.empty());
        assert_true(captures.named.empty());
    }
}

TEST(a_pattern_survives_a_move)
{
    ChannelPattern first("~^(?<x>a)");
    ChannelPattern second = std::move(first);
    first = ChannelPattern("b*");
    Captures captures;
    assert_true(second.match("abc", captures));
    assert_true(first.match("bc", captures));
    assert_text_equal(second.text(), "~^(?<x>a)");
    assert_text_equal(first.text(), "b*");
}

TEST(wrong_patterns_are_refused_with_position_and_reason)
{
    assert_text_equal(patternError("~^(a"), "invalid regular expression \"^(a\" at position 3: "
                                            "missing closing parenthesis");
    assert_true(contains(patternError("~"), "empty"));
    assert_true(contains(patternError(""), "empty"));
    assert_true(contains(patternError("a\x01"), "at position 1"));
    assert_true(contains(patternError("ab\xff"), "at position 2"));
    assert_true(contains(patternError("~a\\C"), "\\C"));
    assert_true(contains(patternError("~\xff"), "UTF-8"));
}

TEST(hostile_names_cost_bounded_time)
{
    // Ends so that PCRE2 has to try: a byte that the pattern needs and the name lacks would be noticed at once.
    const std::string name = std::string(198, 'a') + "b!";
    const char* patterns[] = {"~^(a+)+$",
                              "~^(a|aa)+$",
                              "~(*NO_JIT)^(a|aa)+$",
                              "~(*NO_JIT)(a*)*(a*)*(a*)*b$",
                              "~^(([a-z])+.)+[A-Z]?([a-z])+$",
                              "~(*NO_JIT)^(?<n>a(?&n)?a)+$",
                              "*a*a*a*a*a*a*a*a*a*a*a*a*a*b"};
    const auto start = std::chrono::steady_clock::now();
    for (const char* text : patterns) {
        const ChannelPattern pattern(text);
        Captures captures;
        for (int i = 0; i < 10; ++i) {
            assert_false(pattern.match(name, captures));
        }
    }
    // Unbounded, each would take longer than the universe has; sanitizers and slow machines get their due.
    assert_true(std::chrono::steady_clock::now() - start < std::chrono::seconds(20));
}

TEST(sane_patterns_match_the_longest_names)
{
    // The bounds must not be in the way of what operators write.
    const std::string name = "private-" + std::string(96, 'a') + "." + std::string(95, 'b');
    for (const char* text : {"~^private-(?<tenant>[^.]+)\\.(?<rest>.+)$", "~^(\\w+)-(\\w|\\.)+$", "~(b+)$",
                             "~^(?:[a-z]+[-.])*[a-z]+$", "~^(.*)\\.(.*)b$"}) {
        Captures captures;
        if (!ChannelPattern(text).match(name, captures)) {
            fail_msg("%s", text);
        }
    }
}

TEST(routing_keys_expand_captures_and_names)
{
    assert_text_equal(expand("orders.$1", "orders.*", "orders.17"), "orders.17");
    assert_text_equal(expand("a.${1}0", "orders.*", "orders.17"), "a.170");
    assert_text_equal(expand("$0", "orders.*", "orders.17"), "orders.17");
    assert_text_equal(expand("analytics.$tenant", "~^analytics\\.(?<tenant>\\w+)$", "analytics.acme"),
                      "analytics.acme");
    assert_text_equal(expand("${tenant}x$2", "~^(?<tenant>\\w+)\\.(\\w*)$", "acme.b"), "acmexb");
    assert_text_equal(expand("$app.$channel.${event}", "*", "c"), "shop.c.created");
    assert_text_equal(expand("$$1 $$$1", "*", "c"), "$1 $c");
    assert_text_equal(expand("", "*", "c"), "");
    assert_text_equal(expand("plain", "*", "c"), "plain");
}

TEST(wrong_routing_keys_are_refused)
{
    const ChannelPattern pattern("~^(?<tenant>a)(b)");
    assert_text_equal(keyError("$tenant$2", &pattern), "none");
    assert_text_equal(keyError("$channel"), "none");
    assert_text_equal(keyError("x$3", &pattern), "invalid routing key \"x$3\": no such capture: \"$3\"");
    assert_true(contains(keyError("$other", &pattern), "no such capture: \"$other\""));
    assert_true(contains(keyError("$1"), "no such capture"));
    for (const char* text :
         {"$", "a$", "$.", "${", "${}", "${1", "${1x}", "$-1", "${tenant", "$99999999999999999999"}) {
        if (keyError(text, &pattern) == "none") {
            fail_msg("%s was taken", text);
        }
    }
    const ChannelPattern shadowing("~^(?<channel>a)");
    assert_true(contains(keyError("$channel", &shadowing), "another name"));
    assert_text_equal(keyError("$1", &shadowing), "none");
}

TEST(rates_are_events_a_second_or_a_minute)
{
    assert_true(parseRate("50r/s")->perSecond == 50);
    assert_true(parseRate("30r/m")->perSecond == 0.5);
    assert_true(parseRate("1r/s")->perSecond == 1);
    for (const char* text : {"", "50", "r/s", "0r/s", "-1r/s", "+1r/s", " 1r/s", "1.5r/s", "1r/h", "1 r/s",
                             "1r/s ", "1R/S", "99999999999999999999r/s", "9999999999r/s"}) {
        if (parseRate(text)) {
            fail_msg("%s was taken", text);
        }
    }
}

TEST(the_first_rule_that_matches_wins)
{
    std::vector<ChannelRule> rules(3);
    rules[0].pattern.emplace("orders.*");
    rules[0].zone = "first";
    rules[1].pattern.emplace("~^(?<kind>orders|news)");
    rules[1].zone = "second";
    Captures captures;
    rules.resize(2);
    assert_text_equal(findRule(rules, "orders.1", captures)->zone, "first");
    assert_true(captures.numbered.at(1) == "1");
    assert_true(captures.named.empty());
    assert_text_equal(findRule(rules, "news", captures)->zone, "second");
    assert_true(captures.named.at(0).second == "news");
    assert_null(findRule(rules, "other", captures));
    assert_true(captures.numbered.empty());

    rules.emplace_back();
    rules[2].zone = "rest";
    assert_text_equal(findRule(rules, "other", captures)->zone, "rest");
    assert_true(captures.numbered.at(0) == "other");
}

TEST(channel_names_are_utf8_without_control_characters)
{
    assert_true(validChannelName("a"));
    assert_true(validChannelName("with space, comma; and / anything"));
    assert_true(validChannelName("gr\xc3\xbc\xc3\x9f \xf0\x9f\x98\x80"));
    assert_true(validChannelName("\xc2\xa0")); // the first behind C1
    assert_true(validChannelName(std::string(200, 'a')));
    assert_false(validChannelName(""));
    assert_false(validChannelName(std::string(201, 'a')));
    for (int c = 0; c < 0x20; ++c) {
        assert_false(validChannelName(std::string("a") + static_cast<char>(c)));
    }
    assert_false(validChannelName("a\x7f"));
    for (int c = 0x80; c < 0xa0; ++c) {
        assert_false(validChannelName(std::string("a\xc2") + static_cast<char>(c)));
    }
    assert_false(validChannelName("\xff"));
    assert_false(validChannelName("a\xc2"));
    assert_true(validChannelName("\xe2\x82\xac\xe8\x82\x80")); // 82 and 80 here are no control characters
}

TEST_MAIN()
