// The invented credentials of the protocol's test vectors.
export const app = { id: '731', key: 'k9f3c2a17be40d5561aa', secret: 's2d81e6f04c7b93a5512' };
export const masterKey = Buffer.from('an invented master key of 32 by.').toString('base64');
