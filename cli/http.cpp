#include "http.hpp"

#include "errors.hpp"
#include "json.hpp"

#include <curl/curl.h>

namespace realtime::cli {

namespace {

constexpr long TimeoutSeconds = 70; // more than the 60 s that a publish may wait for its broker
constexpr long ConnectSeconds = 10;
constexpr std::size_t MaxAnswer = 16 << 20;

struct ListFree {
    void operator()(curl_slist* list) const { curl_slist_free_all(list); }
};
using List = std::unique_ptr<curl_slist, ListFree>;

void append(List& list, const std::string& header)
{
    if (curl_slist* longer = curl_slist_append(list.get(), header.c_str()); longer != nullptr) {
        static_cast<void>(list.release()); // it is the head of the longer one
        list.reset(longer);
    }
}

void append(List& list, const std::vector<std::string>& headers)
{
    for (const std::string& header : headers) {
        append(list, header);
    }
}

std::size_t take(const char* bytes, std::size_t, std::size_t size, void* out)
{
    auto& body = *static_cast<std::string*>(out);
    if (body.size() + size > MaxAnswer) {
        return 0;
    }
    body.append(bytes, size);
    return size;
}

} // namespace

Transport transportOf(const Arguments& arguments)
{
    Transport out;
    out.headers = arguments.all("header");
    for (const std::string& header : out.headers) {
        if (header.find(':') == std::string::npos || header.find_first_of("\r\n") != std::string::npos) {
            throw UsageError("--header is 'Name: value'");
        }
    }
    out.caFile = arguments.text("ca-file").value_or("");
    out.insecure = arguments.has("insecure");
    return out;
}

std::string HttpAnswer::problem() const
{
    std::string words;
    if (const Json json = Json::parse(body)) {
        words = json.text("error");
    }
    return "HTTP status " + std::to_string(status) + (words.empty() ? "" : ": " + words);
}

struct HttpClient::Impl {
    explicit Impl(const Transport& given) : transport(given), curl(curl_easy_init())
    {
        if (curl == nullptr) {
            throw std::bad_alloc();
        }
    }
    ~Impl() { curl_easy_cleanup(curl); }
    Impl(const Impl&) = delete;
    Impl& operator=(const Impl&) = delete;

    HttpAnswer perform(const std::string& url, const std::vector<std::string>& headers)
    {
        List list;
        append(list, "Expect:"); // or libcurl would wait for the word to go on
        append(list, transport.headers);
        append(list, headers);
        HttpAnswer answer;
        curl_easy_setopt(curl, CURLOPT_URL, url.c_str());
        curl_easy_setopt(curl, CURLOPT_HTTPHEADER, list.get());
        curl_easy_setopt(curl, CURLOPT_WRITEFUNCTION, take);
        curl_easy_setopt(curl, CURLOPT_WRITEDATA, &answer.body);
        curl_easy_setopt(curl, CURLOPT_NOSIGNAL, 1L);
        curl_easy_setopt(curl, CURLOPT_CONNECTTIMEOUT, ConnectSeconds);
        curl_easy_setopt(curl, CURLOPT_TIMEOUT, TimeoutSeconds);
        curl_easy_setopt(curl, CURLOPT_USERAGENT, "realtime/" REALTIME_VERSION);
        if (!transport.caFile.empty()) {
            curl_easy_setopt(curl, CURLOPT_CAINFO, transport.caFile.c_str());
        }
        if (transport.insecure) {
            curl_easy_setopt(curl, CURLOPT_SSL_VERIFYPEER, 0L);
            curl_easy_setopt(curl, CURLOPT_SSL_VERIFYHOST, 0L);
        }
        const CURLcode code = curl_easy_perform(curl);
        curl_easy_getinfo(curl, CURLINFO_RESPONSE_CODE, &answer.status);
        curl_easy_reset(curl); // keeps the connection
        if (code != CURLE_OK) {
            throw UnreachableError(url.substr(0, url.find('?')) + ": " + curl_easy_strerror(code));
        }
        return answer;
    }

    Transport transport;
    CURL* curl;
};

HttpClient::HttpClient(const Transport& transport) : impl_(std::make_unique<Impl>(transport)) {}
HttpClient::~HttpClient() = default;

HttpAnswer HttpClient::get(const std::string& url)
{
    return impl_->perform(url, {});
}

HttpAnswer HttpClient::post(const std::string& url, std::string_view body,
                            const std::vector<std::string>& headers)
{
    curl_easy_setopt(impl_->curl, CURLOPT_POST, 1L);
    curl_easy_setopt(impl_->curl, CURLOPT_POSTFIELDS, body.data());
    curl_easy_setopt(impl_->curl, CURLOPT_POSTFIELDSIZE_LARGE, static_cast<curl_off_t>(body.size()));
    return impl_->perform(url, headers);
}

} // namespace realtime::cli
