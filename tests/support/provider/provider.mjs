// provider.mjs [SETTINGS]: the certified OpenID provider at which tests log in: one public client, one API with signed access
// tokens, and endpoints by which a test changes keys and groups. It prints its address.
//
// With SETTINGS (JSON: `BrowserClient` in tests/support/src/providers.rs) the client is confidential, for logins with a browser, and
// a public one, `program`, is beside it.
import { createServer } from 'node:http';
import { randomUUID } from 'node:crypto';
import Provider from 'oidc-provider';
import { exportJWK, generateKeyPair } from 'jose';

const API = 'elastauth';
const settings = process.argv[2] && JSON.parse(process.argv[2]);
const life = settings?.life ?? 300;

async function key() {
  const { privateKey } = await generateKeyPair('ES256', { extractable: true });
  return { ...(await exportJWK(privateKey)), kid: randomUUID(), use: 'sig', alg: 'ES256' };
}

// Sessions, grants and tokens outlive a change of keys; nothing is kept longer than the process.
const kept = new Map();
class Kept {
  constructor(model) { this.model = model; }
  key(id) { return `${this.model} ${id}`; }
  async upsert(id, payload) { kept.set(this.key(id), payload); }
  async find(id) { return kept.get(this.key(id)); }
  async findByUid(uid) { return [...kept].find(([key, { uid: own }]) => key.startsWith(`${this.model} `) && own === uid)?.[1]; }
  async consume(id) { kept.get(this.key(id)).consumed = Math.floor(Date.now() / 1000); }
  async destroy(id) { kept.delete(this.key(id)); }
  async revokeByGrantId(grant) { for (const [key, { grantId }] of kept) if (grantId === grant) kept.delete(key); }
}

// `ann` is in admins, all others in developers, until a test changes it.
const groups = new Map([['ann', ['admins']]]);
function claims(account) {
  return {
    sub: `id-of-${account}`,
    preferred_username: account,
    email: `${account}@example.org`,
    name: `${account} of the provider`,
    groups: groups.get(account) ?? ['developers'],
  };
}

function clients() {
  const every = {
    grant_types: ['authorization_code', 'refresh_token'],
    response_types: ['code'],
    id_token_signed_response_alg: 'ES256',
  };
  const direct = { ...every, token_endpoint_auth_method: 'none', redirect_uris: ['http://127.0.0.1/callback'] };
  const client = (client_id) => ({ ...direct, client_id });
  if (!settings) return [client('elastauth')];
  const browsers = {
    ...every,
    client_id: 'elastauth',
    client_secret: settings.secret,
    token_endpoint_auth_method: 'client_secret_basic',
    redirect_uris: settings.redirect_uris,
    post_logout_redirect_uris: settings.post_logout_redirect_uris,
  };
  if (settings.backchannel_logout_uri) {
    browsers.backchannel_logout_uri = settings.backchannel_logout_uri;
    browsers.backchannel_logout_session_required = true;
  }
  return [browsers, client('program')];
}

function configuration(keys) {
  return {
    clients: clients(),
    adapter: Kept,
    jwks: { keys },
    claims: { openid: ['sub', 'preferred_username', 'email', 'name', 'groups'] },
    conformIdTokenClaims: false,
    findAccount: (_, id) => ({ accountId: id, claims: () => claims(id) }),
    extraTokenClaims: (_, token) => claims(token.accountId),
    issueRefreshToken: () => true,
    // the second use of a rotated token revokes the whole grant
    rotateRefreshToken: settings?.rotates ?? false,
    ttl: { AccessToken: life, IdToken: life, RefreshToken: 86400, Session: 86400, Grant: 86400, Interaction: 600 },
    features: {
      backchannelLogout: { enabled: true },
      devInteractions: { enabled: true },
      resourceIndicators: {
        enabled: true,
        defaultResource: () => `urn:${API}`,
        useGrantedResource: () => true,
        getResourceServerInfo: () => ({
          scope: 'openid',
          audience: API,
          accessTokenTTL: life,
          accessTokenFormat: 'jwt',
          jwt: { sign: { alg: 'ES256' } },
        }),
      },
    },
  };
}

const server = createServer();
server.listen(0, '127.0.0.1', async () => {
  const issuer = `http://127.0.0.1:${server.address().port}`;
  let keys = [];
  let handle;
  // A provider has the keys that it was made with.
  const sign = (next) => {
    keys = next;
    handle = new Provider(issuer, configuration(keys)).callback();
  };
  sign([await key()]);
  server.on('request', async (request, response) => {
    if (request.url === '/test/new-key') {
      sign([await key(), ...keys]);
      response.end(keys[0].kid);
    } else if (request.url === '/test/drop-old-keys') {
      sign(keys.slice(0, 1));
      response.end();
    } else if (request.url.startsWith('/test/groups?')) {
      const { user, groups: named } = Object.fromEntries(new URL(request.url, issuer).searchParams);
      groups.set(user, named.split(',').filter(Boolean));
      response.end();
    } else if (request.url.startsWith('/test/backchannel-logout?')) {
      settings.backchannel_logout_uri = new URL(request.url, issuer).searchParams.get('uri');
      sign(keys);
      response.end();
    } else {
      handle(request, response);
    }
  });
  console.log(`provider at ${issuer}`);
});
