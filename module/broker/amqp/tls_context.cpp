#include "broker/amqp/tls_context.hpp"

#include <openssl/err.h>
#include <openssl/ssl.h>
#include <stdexcept>

namespace realtime {

namespace {

[[noreturn]] void refuseFile(const std::string& what, const std::string& file)
{
    throw std::runtime_error("cannot load " + what + " \"" + file + "\": " + takeTlsError());
}

// A key that needs a password must fail: OpenSSL would ask for it on the terminal.
int noPassword(char*, int, int, void*)
{
    return -1;
}

void loadCertificates(SSL_CTX* context, const BrokerConfig& config)
{
    const bool trusts = config.tlsCa.empty() ? SSL_CTX_set_default_verify_paths(context) == 1
                                             : SSL_CTX_load_verify_file(context, config.tlsCa.c_str()) == 1;
    if (!trusts) {
        refuseFile("the certificates to trust from", config.tlsCa);
    }
    if (config.tlsCert.empty()) {
        return;
    }
    if (SSL_CTX_use_certificate_chain_file(context, config.tlsCert.c_str()) != 1) {
        refuseFile("the certificate", config.tlsCert);
    }
    const auto& key = config.tlsKey.empty() ? config.tlsCert : config.tlsKey;
    if (SSL_CTX_use_PrivateKey_file(context, key.c_str(), SSL_FILETYPE_PEM) != 1 ||
        SSL_CTX_check_private_key(context) != 1) {
        refuseFile("the key", key);
    }
}

} // namespace

void FreeTlsContext::operator()(ssl_ctx_st* context) const
{
    SSL_CTX_free(context);
}

std::string takeTlsError()
{
    const auto code = ERR_peek_last_error();
    ERR_clear_error();
    const char* reason = code != 0 ? ERR_reason_error_string(code) : nullptr;
    return reason != nullptr ? reason : "unknown TLS error";
}

TlsContext makeTlsContext(const BrokerConfig& config)
{
    ERR_clear_error();
    TlsContext context(SSL_CTX_new(TLS_client_method()));
    if (!context) {
        throw std::runtime_error("cannot begin TLS: " + takeTlsError());
    }
    SSL_CTX_set_min_proto_version(context.get(), TLS1_2_VERSION);
    SSL_CTX_set_mode(context.get(), SSL_MODE_ENABLE_PARTIAL_WRITE | SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER);
    SSL_CTX_set_verify(context.get(), SSL_VERIFY_PEER, nullptr);
    SSL_CTX_set_default_passwd_cb(context.get(), noPassword);
    loadCertificates(context.get(), config);
    return context;
}

} // namespace realtime
