"""Drives the stand-in through Elastic's own client: client.py URL. Whatever the client would not take ends it."""

import sys

from elasticsearch import BadRequestError, Elasticsearch, NotFoundError, AuthenticationException, AuthorizationException

url = sys.argv[1]
admin = Elasticsearch(url, basic_auth=("provisioner", "provisioner-password"))
by_key = Elasticsearch(url, api_key=("provisioner-id", "provisioner-key"))
by_token = Elasticsearch(url, bearer_auth="provisioner-token")
for client in (admin, by_key, by_token):
    assert client.security.authenticate()["username"] == "provisioner"

user = dict(password="secret-1", roles=["dev"], full_name="Ann", email=None, metadata={"managed_by": "x"}, enabled=True)
for name in ("ann", "a/b", "a b", "a%2Fb", "..", "a@b+c", "*", "\\"):
    assert admin.security.put_user(username=name, refresh=False, **user) == {"created": True}, name
    assert by_key.security.put_user(username=name, refresh=False, **user) == {"created": False}, name
    shown = by_token.security.get_user(username=name)
    assert shown[name]["roles"] == ["dev"] and shown[name]["metadata"] == {"managed_by": "x"}, shown
    ann = Elasticsearch(url, basic_auth=(name, "secret-1"))
    account = ann.security.authenticate()
    assert (account["username"], account["roles"], account["authentication_realm"]["type"]) == (name, ["dev"], "native"), account
    assert not ann.security.has_privileges(cluster=["manage_security"])["has_all_requested"]
    for refused in (lambda: ann.security.get_user(username=name), lambda: ann.security.put_user(username=name, **user)):
        try:
            refused()
            raise SystemExit("a user may administer")
        except AuthorizationException as error:
            assert error.body["error"]["type"] == "security_exception", error.body

assert len(admin.security.get_user()) == 8
assert set(admin.security.get_user(username=["ann", "a b"])) == {"ann", "a b"}
admin.security.disable_user(username="ann")
try:
    Elasticsearch(url, basic_auth=("ann", "secret-1")).security.authenticate()
    raise SystemExit("a disabled user logs in")
except AuthenticationException:
    pass
admin.security.enable_user(username="ann")
assert admin.security.put_user(username="ann", roles=["viewer"]) == {"created": False}
assert Elasticsearch(url, basic_auth=("ann", "secret-1")).security.authenticate()["roles"] == ["viewer"]
for name, body in (("ann", dict(roles=["a"], password="short")), ("new", dict(roles=["a"])), ("elastic", user)):
    try:
        admin.security.put_user(username=name, **body)
        raise SystemExit(f"accepted: {name} {body}")
    except BadRequestError as error:
        assert error.body["status"] == 400 and error.body["error"]["reason"], error.body
wanted = ["cluster:admin/xpack/security/user/put", "cluster:admin/xpack/security/user/get"]
assert admin.security.has_privileges(cluster=wanted)["has_all_requested"] is True
assert "superuser" in admin.security.get_role()
assert admin.security.delete_user(username="ann") == {"found": True}
for missing in (admin.security.delete_user, admin.security.get_user):
    try:
        missing(username="ann")
        raise SystemExit("found")
    except NotFoundError as error:
        assert error.body in ({"found": False}, {}), error.body
print("the official client is content")
