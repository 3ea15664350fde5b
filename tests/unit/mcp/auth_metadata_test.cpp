// Where metadata is looked for, and what of it is believed.
#include "mcp/auth_metadata.hpp"

#include <gtest/gtest.h>

namespace parley::mcp {
namespace {

using Urls = std::vector<std::string>;

TEST(MetadataUrls, OfTheResourceByPathThenRoot) {
    EXPECT_EQ(resource_metadata_urls("https://example.com/public/mcp?key=secret"),
              (Urls{"https://example.com/.well-known/oauth-protected-resource/public/mcp",
                    "https://example.com/.well-known/oauth-protected-resource"}));
    EXPECT_EQ(resource_metadata_urls("https://example.com/"),
              (Urls{"https://example.com/.well-known/oauth-protected-resource"}));
    EXPECT_EQ(resource_metadata_urls("http://localhost:3000"),
              (Urls{"http://localhost:3000/.well-known/oauth-protected-resource"}));
}

TEST(MetadataUrls, OfTheIssuerInTheSpecificationsOrder) {
    EXPECT_EQ(server_metadata_urls("https://auth.example.com/tenant1"),
              (Urls{"https://auth.example.com/.well-known/oauth-authorization-server/tenant1",
                    "https://auth.example.com/.well-known/openid-configuration/tenant1",
                    "https://auth.example.com/tenant1/.well-known/openid-configuration"}));
    EXPECT_EQ(server_metadata_urls("https://auth.example.com"),
              (Urls{"https://auth.example.com/.well-known/oauth-authorization-server",
                    "https://auth.example.com/.well-known/openid-configuration"}));
    EXPECT_EQ(server_metadata_urls("https://auth.example.com/"), server_metadata_urls("https://auth.example.com"));
}

TEST(Origin, IsComparedWithoutCaseAndDefaultPorts) {
    EXPECT_EQ(origin_of("HTTPS://Example.com:443/Path"), "https://example.com");
    EXPECT_EQ(origin_of("http://example.com:80"), "http://example.com");
    EXPECT_EQ(origin_of("http://example.com:443/"), "http://example.com:443");
    EXPECT_EQ(origin_of("https://[::1]:8443/x"), "https://[::1]:8443");
    EXPECT_EQ(origin_of("no url"), "");
}

TEST(Resource, CanonicalUriHasNoQueryAndNoLoneSlash) {
    EXPECT_EQ(canonical_resource("https://MCP.example.com/"), "https://mcp.example.com");
    EXPECT_EQ(canonical_resource("https://mcp.example.com/server/mcp?key=secret#x"),
              "https://mcp.example.com/server/mcp");
}

TEST(Resource, CoversItsOwnOriginAndPathOnly) {
    constexpr auto kServer = "https://example.com/a/mcp?key=1";
    for (auto const* const good : {"https://example.com/a/mcp", "https://EXAMPLE.com:443/a/mcp", "https://example.com",
                                   "https://example.com/", "https://example.com/a", "https://example.com/a/mcp/"}) {
        EXPECT_TRUE(covers(good, kServer)) << good;
    }
    for (auto const* const bad :
         {"https://evil.example.com/a/mcp", "http://example.com/a/mcp", "https://example.com:8443/a/mcp",
          "https://example.com/a/mc", "https://example.com/a/mcp/more", "https://example.com/A/mcp",
          "https://example.com/b", "https://example.com/a/mcp#x", "https://example.com.evil.com/a/mcp", "example.com",
          "", "/a/mcp"}) {
        EXPECT_FALSE(covers(bad, kServer)) << bad;
    }
}

TEST(ServerMetadata, IsReadWhole) {
    auto const read = parse_server_metadata(
        R"({"issuer":"https://as","authorization_endpoint":"https://as/a","token_endpoint":"https://as/t",
            "registration_endpoint":"https://as/r","scopes_supported":["x","offline_access"],
            "code_challenge_methods_supported":["plain","S256"],"token_endpoint_auth_methods_supported":["none"],
            "dpop_signing_alg_values_supported":["ES256"],"client_id_metadata_document_supported":true,
            "authorization_response_iss_parameter_supported":true})",
        "https://as");
    ASSERT_TRUE(read);
    EXPECT_EQ(read->authorization_endpoint, "https://as/a");
    EXPECT_EQ(read->token_endpoint, "https://as/t");
    EXPECT_EQ(read->registration_endpoint, "https://as/r");
    EXPECT_EQ(read->scopes, (Scopes{"x", "offline_access"}));
    EXPECT_EQ(read->code_challenge_methods, (Urls{"plain", "S256"}));
    EXPECT_EQ(read->token_auth_methods, (Urls{"none"}));
    EXPECT_EQ(read->dpop_algorithms, (Urls{"ES256"}));
    EXPECT_TRUE(read->client_id_metadata_documents);
    EXPECT_TRUE(read->iss_parameter);
}

TEST(ServerMetadata, OfAnotherIssuerIsRefused) {
    constexpr auto kDocument = R"({"issuer":"https://as","token_endpoint":"https://as/t"})";
    EXPECT_TRUE(parse_server_metadata(kDocument, "https://as"));
    for (auto const* const other : {"https://as/", "https://AS", "https://as:443", "https://evil", ""})
        EXPECT_FALSE(parse_server_metadata(kDocument, other)) << other;
}

TEST(ServerMetadata, WrongTypesAreAbsence) {
    auto const read = parse_server_metadata(
        R"({"issuer":"https://as","token_endpoint":"https://as/t","scopes_supported":"x","registration_endpoint":1,
            "code_challenge_methods_supported":{"S256":1},"client_id_metadata_document_supported":"true"})",
        "https://as");
    ASSERT_TRUE(read);
    EXPECT_TRUE(read->scopes.empty());
    EXPECT_TRUE(read->code_challenge_methods.empty());
    EXPECT_EQ(read->registration_endpoint, "");
    EXPECT_FALSE(read->client_id_metadata_documents);
    for (auto const* const bad : {"", "[]", "null", "{", R"({"issuer":"https://as"})", "{}x"})
        EXPECT_FALSE(parse_server_metadata(bad, "https://as")) << bad;
}

TEST(ResourceMetadata, NeedsItsResource) {
    auto const read = parse_resource_metadata(
        R"({"resource":"https://x/mcp","authorization_servers":["https://a","https://b"],"scopes_supported":["s"],
            "dpop_bound_access_tokens_required":true})");
    ASSERT_TRUE(read);
    EXPECT_EQ(read->resource, "https://x/mcp");
    EXPECT_EQ(read->authorization_servers, (Urls{"https://a", "https://b"}));
    EXPECT_EQ(read->scopes, (Scopes{"s"}));
    EXPECT_TRUE(read->dpop_required);
    EXPECT_FALSE(parse_resource_metadata(R"({"authorization_servers":["https://a"]})"));
    EXPECT_FALSE(parse_resource_metadata("[]"));
}

} // namespace
} // namespace parley::mcp
