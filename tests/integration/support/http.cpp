#include "support/http.hpp"

#include <algorithm>
#include <cctype>

#include <curl/curl.h>

namespace realtime::testing {
namespace {

struct EasyFree {
    void operator()(CURL* curl) const { curl_easy_cleanup(curl); }
};
struct MultiFree {
    void operator()(CURLM* curl) const { curl_multi_cleanup(curl); }
};
struct ListFree {
    void operator()(curl_slist* list) const { curl_slist_free_all(list); }
};
using Easy = std::unique_ptr<CURL, EasyFree>;
using Multi = std::unique_ptr<CURLM, MultiFree>;
using List = std::unique_ptr<curl_slist, ListFree>;

std::size_t takeBody(char* data, std::size_t size, std::size_t count, void* user)
{
    static_cast<HttpResponse*>(user)->body.append(data, size * count);
    return size * count;
}

std::size_t takeHeader(char* data, std::size_t size, std::size_t count, void* user)
{
    auto& response = *static_cast<HttpResponse*>(user);
    const std::string_view line(data, size * count);
    if (line.starts_with("HTTP/")) {
        response.http2 = line.starts_with("HTTP/2");
        response.headers.clear();
    }
    const auto colon = line.find(':');
    if (colon != std::string_view::npos) {
        std::string name(line.substr(0, colon));
        std::transform(name.begin(), name.end(), name.begin(),
                       [](unsigned char c) { return std::tolower(c); });
        const auto begin = line.find_first_not_of(' ', colon + 1);
        const auto end = line.find_last_not_of("\r\n ");
        const bool empty = begin == std::string_view::npos || end < begin;
        response.headers.emplace(name, empty ? "" : line.substr(begin, end + 1 - begin));
    }
    return size * count;
}

long curlVersion(HttpVersion version)
{
    switch (version) {
    case HttpVersion::Http2:
        return CURL_HTTP_VERSION_2TLS;
    case HttpVersion::Http2Cleartext:
        return CURL_HTTP_VERSION_2_PRIOR_KNOWLEDGE;
    case HttpVersion::Http11:
        break;
    }
    return CURL_HTTP_VERSION_1_1;
}

// The returned list must live as long as the transfer, and so must `request` and `response`.
List prepare(CURL* curl, const HttpRequest& request, HttpResponse& response)
{
    curl_easy_reset(curl);
    curl_easy_setopt(curl, CURLOPT_URL, request.url.c_str());
    curl_easy_setopt(curl, CURLOPT_HTTP_VERSION, curlVersion(request.version));
    curl_easy_setopt(curl, CURLOPT_NOSIGNAL, 1L);
    curl_easy_setopt(curl, CURLOPT_NOPROXY, "*");
    curl_easy_setopt(curl, CURLOPT_WRITEFUNCTION, takeBody);
    curl_easy_setopt(curl, CURLOPT_WRITEDATA, &response);
    curl_easy_setopt(curl, CURLOPT_HEADERFUNCTION, takeHeader);
    curl_easy_setopt(curl, CURLOPT_HEADERDATA, &response);
    if (request.method == "HEAD") {
        curl_easy_setopt(curl, CURLOPT_NOBODY, 1L);
    }
    if (request.body) {
        curl_easy_setopt(curl, CURLOPT_POSTFIELDSIZE_LARGE, static_cast<curl_off_t>(request.body->size()));
        curl_easy_setopt(curl, CURLOPT_POSTFIELDS, request.body->data());
    }
    curl_easy_setopt(curl, CURLOPT_CUSTOMREQUEST, request.method.c_str());
    if (!request.certificate.empty()) {
        curl_easy_setopt(curl, CURLOPT_CAINFO, request.certificate.c_str());
    }
    if (!request.credentials.empty()) {
        curl_easy_setopt(curl, CURLOPT_USERPWD, request.credentials.c_str());
    }
    List headers(curl_slist_append(nullptr, "Expect:"));
    for (const auto& header : request.headers) {
        headers.reset(curl_slist_append(headers.release(), header.c_str()));
    }
    curl_easy_setopt(curl, CURLOPT_HTTPHEADER, headers.get());
    return headers;
}

void readInfo(CURL* curl, HttpResponse& response)
{
    long port = 0;
    curl_easy_getinfo(curl, CURLINFO_RESPONSE_CODE, &response.status);
    curl_easy_getinfo(curl, CURLINFO_LOCAL_PORT, &port);
    response.clientPort = static_cast<std::uint16_t>(port);
}

} // namespace

std::string HttpResponse::header(const std::string& lowerCaseName) const
{
    const auto found = headers.find(lowerCaseName);
    return found == headers.end() ? std::string() : found->second;
}

struct HttpExchange::Impl {
    HttpRequest request;
    HttpResponse response;
    Easy easy{curl_easy_init()};
    Multi multi{curl_multi_init()};
    List headers;
    bool done = false;
    CURLcode result = CURLE_OK;
};

HttpExchange::HttpExchange(const HttpRequest& request) : impl_(std::make_unique<Impl>())
{
    impl_->request = request;
    impl_->headers = prepare(impl_->easy.get(), impl_->request, impl_->response);
    curl_multi_add_handle(impl_->multi.get(), impl_->easy.get());
    pump(0ms);
}

HttpExchange::~HttpExchange()
{
    curl_multi_remove_handle(impl_->multi.get(), impl_->easy.get());
}

void HttpExchange::pump(std::chrono::milliseconds atMost)
{
    int running = 0;
    CURLM* multi = impl_->multi.get();
    if (atMost > 0ms) {
        curl_multi_poll(multi, nullptr, 0, static_cast<int>(atMost.count()), nullptr);
    }
    curl_multi_perform(multi, &running);
    int left = 0;
    while (const CURLMsg* message = curl_multi_info_read(multi, &left)) {
        if (message->msg == CURLMSG_DONE) {
            impl_->done = true;
            impl_->result = message->data.result;
        }
    }
    readInfo(impl_->easy.get(), impl_->response);
}

bool HttpExchange::headersReceived() const
{
    return impl_->response.status != 0;
}

bool HttpExchange::done() const
{
    return impl_->done;
}

std::string HttpExchange::error() const
{
    return impl_->result == CURLE_OK ? "" : curl_easy_strerror(impl_->result);
}

HttpResponse& HttpExchange::response()
{
    return impl_->response;
}

const HttpResponse& HttpExchange::finish(std::chrono::milliseconds patience)
{
    const auto deadline = Clock::now() + patience;
    while (!done()) {
        expect(Clock::now() < deadline, "no answer in time from " + impl_->request.url);
        pump(20ms);
    }
    expectEqual(error(), std::string());
    return impl_->response;
}

struct HttpClient::Impl {
    Easy easy{curl_easy_init()};
};

HttpClient::HttpClient() : impl_(std::make_unique<Impl>()) {}
HttpClient::~HttpClient() = default;

HttpResponse HttpClient::send(const HttpRequest& request)
{
    HttpResponse response;
    CURL* curl = impl_->easy.get();
    const List headers = prepare(curl, request, response);
    curl_easy_setopt(curl, CURLOPT_TIMEOUT_MS, static_cast<long>(Patience.count()));
    const CURLcode result = curl_easy_perform(curl);
    if (result != CURLE_OK) {
        throw std::runtime_error(request.url + ": " + curl_easy_strerror(result));
    }
    readInfo(curl, response);
    return response;
}

HttpResponse send(const HttpRequest& request)
{
    return HttpClient().send(request);
}

HttpResponse get(const std::string& url, const std::vector<std::string>& headers)
{
    HttpRequest request;
    request.url = url;
    request.headers = headers;
    return send(request);
}

HttpResponse post(const std::string& url, const std::string& body, const std::vector<std::string>& headers)
{
    HttpRequest request;
    request.url = url;
    request.method = "POST";
    request.body = body;
    request.headers = headers;
    return send(request);
}

} // namespace realtime::testing
