// A real OpenID provider (npm `oidc-provider`) with the people and programs that the tests need.
//
//   node provider.mjs DIRECTORY-OF-NODE_MODULES SETTINGS
//
// SETTINGS is JSON:
//   port        where to listen, on loopback
//   keys        a file with the private signing keys; made if it is not there
//   groups      the groups of everybody who logs in
//   ttl         how many seconds ID tokens last (600)
//   device_ttl  how many seconds a device code lasts (600)
//   slow_down   how many polls are told that they come too soon (0)
//
// Prints a line when it listens. Whoever logs in is whom he says he is: what is tested is not the provider.
import fs from 'node:fs';
import path from 'node:path';

const [modules, settings] = [process.argv[2], JSON.parse(process.argv[3])];
const load = (name) => import(path.join(modules, 'node_modules', name));
const { default: Provider } = await load('oidc-provider/lib/index.js');
const jose = await load('jose/dist/webapi/index.js');

// Who started it reads one line.
console.log = console.info = console.warn = console.error;

const ALGORITHMS = ['RS256', 'PS256', 'ES256', 'ES384', 'EdDSA'];
const issuer = `http://127.0.0.1:${settings.port}`;

async function keys() {
  if (!fs.existsSync(settings.keys)) {
    const made = [];
    for (const alg of ['RS256', 'ES256', 'ES384', 'EdDSA']) {
      const { privateKey } = await jose.generateKeyPair(alg, { extractable: true });
      const jwk = await jose.exportJWK(privateKey);
      // An RSA key is for every RSA algorithm.
      made.push({ ...jwk, use: 'sig', kid: `${alg}-${path.basename(settings.keys)}`, ...(alg === 'RS256' ? {} : { alg }) });
    }
    fs.writeFileSync(settings.keys, JSON.stringify(made));
  }
  return JSON.parse(fs.readFileSync(settings.keys));
}

// A resource `urn:claviger:ALG` is the gateway, which wants tokens signed by that algorithm.
const resource = (indicator) => ({
  scope: 'connect',
  audience: 'claviger',
  accessTokenFormat: 'jwt',
  accessTokenTTL: 600,
  jwt: { sign: { alg: indicator.split(':').at(-1) } },
});

const client = (alg) => ({
  client_id: `claviger-${alg}`,
  application_type: 'native',
  token_endpoint_auth_method: 'none',
  grant_types: ['urn:ietf:params:oauth:grant-type:device_code', 'refresh_token'],
  response_types: [],
  redirect_uris: [],
  id_token_signed_response_alg: alg,
});

const provider = new Provider(issuer, {
  jwks: { keys: await keys() },
  clients: [
    ...ALGORITHMS.map(client),
    { client_id: 'robot', client_secret: 'robot-secret', grant_types: ['client_credentials'], response_types: [], redirect_uris: [] },
  ],
  scopes: ['openid', 'offline_access', 'connect'],
  claims: { openid: ['sub', 'groups', 'realm_access'] },
  conformIdTokenClaims: false,
  enabledJWA: { idTokenSigningAlgValues: ALGORITHMS },
  findAccount: (_, id) => ({
    accountId: id,
    claims: async () => ({ sub: id, groups: settings.groups ?? [], realm_access: { roles: settings.groups ?? [] } }),
  }),
  features: {
    clientCredentials: { enabled: true },
    deviceFlow: { enabled: true },
    revocation: { enabled: true },
    resourceIndicators: {
      enabled: true,
      getResourceServerInfo: (_, indicator) => resource(indicator),
      useGrantedResource: () => true,
    },
  },
  extraTokenClaims: (_, token) => (token.accountId ? { groups: settings.groups ?? [] } : undefined),
  ttl: {
    IdToken: settings.ttl ?? 600,
    AccessToken: settings.ttl ?? 600,
    DeviceCode: settings.device_ttl ?? 600,
    ClientCredentials: 600,
  },
  cookies: { keys: ['a test'] },
});

let soon = settings.slow_down ?? 0;
provider.use(async (ctx, next) => {
  await next();
  if (ctx.path === '/device/auth' && ctx.body?.device_code) ctx.body = { ...ctx.body, interval: 1 };
  if (ctx.path === '/token' && ctx.body?.error === 'authorization_pending' && soon > 0) {
    soon -= 1;
    ctx.body = { error: 'slow_down' };
  }
});

provider.listen(settings.port, '127.0.0.1', () => process.stdout.write(`listening at ${issuer}\n`));
