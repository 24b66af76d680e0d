import java.io.BufferedReader;
import java.io.InputStreamReader;
import java.lang.reflect.InvocationTargetException;
import java.lang.reflect.Method;
import java.nio.charset.StandardCharsets;
import java.util.Base64;

import org.elasticsearch.common.bytes.BytesArray;
import org.elasticsearch.common.settings.SecureString;
import org.elasticsearch.common.settings.Settings;
import org.elasticsearch.xcontent.XContentType;
import org.elasticsearch.xpack.core.security.action.user.PutUserRequest;
import org.elasticsearch.xpack.core.security.action.user.PutUserRequestBuilder;
import org.elasticsearch.xpack.core.security.authc.esnative.ClientReservedRealm;
import org.elasticsearch.xpack.core.security.authc.support.Hasher;

/**
 * Runs PUT bodies and names through the classes of the real server, in the order of RestPutUserAction and
 * TransportPutUserAction, and hashes through its Hasher. One line in, one line out:
 *   user NAME BODY      (base64)  -> accepted | refused REASON
 *   hash PASSWORD HASH  (base64)  -> accepted | refused
 * Classes whose place or signature differs between 7.17 and 8 are found by reflection.
 */
public class Validate {
    public static void main(String[] arguments) throws Exception {
        BufferedReader in = new BufferedReader(new InputStreamReader(System.in, StandardCharsets.UTF_8));
        for (String line = in.readLine(); line != null; line = in.readLine()) {
            String[] parts = line.split(" ", -1);
            String answer = parts[0].equals("hash") ? hash(decode(parts[1]), decode(parts[2])) : user(decode(parts[1]), decode(parts[2]));
            System.out.println(answer.replaceAll("\\s+", " "));
        }
    }

    private static String decode(String text) {
        return new String(Base64.getDecoder().decode(text), StandardCharsets.UTF_8);
    }

    private static String hash(String password, String hash) {
        Hasher hasher = Hasher.resolveFromHash(hash.toCharArray());
        boolean fits = hasher == Hasher.BCRYPT && hasher.verify(new SecureString(password.toCharArray()), hash.toCharArray());
        return fits ? "accepted" : "refused by " + hasher;
    }

    private static String user(String name, String body) throws Exception {
        try {
            PutUserRequestBuilder builder = builder();
            builder.source(name, new BytesArray(body), XContentType.JSON, Hasher.BCRYPT);
            PutUserRequest request = (PutUserRequest) builder.request();
            Exception invalid = request.validate();
            if (invalid != null) return "refused " + invalid.getMessage();
            if (ClientReservedRealm.isReserved(name, Settings.EMPTY)) return "refused reserved";
            Object error = validateUsername(name);
            return error == null ? "accepted" : "refused " + error;
        } catch (IllegalArgumentException | org.elasticsearch.ElasticsearchException | java.io.IOException error) {
            return "refused " + error.getMessage();
        } catch (RuntimeException error) {
            return "refused " + error;
        }
    }

    private static PutUserRequestBuilder builder() throws Exception {
        for (var constructor : PutUserRequestBuilder.class.getConstructors()) {
            if (constructor.getParameterCount() == 1) return (PutUserRequestBuilder) constructor.newInstance((Object) null);
        }
        throw new IllegalStateException("PutUserRequestBuilder has another constructor");
    }

    private static Object validateUsername(String name) throws Exception {
        String support = "org.elasticsearch.xpack.core.security.support.";
        for (String place : new String[] { "NativeRealmValidationUtil", "Validation$Users" }) {
            try {
                Method method = Class.forName(support + place).getMethod("validateUsername", String.class, boolean.class, Settings.class);
                return method.invoke(null, name, true, Settings.EMPTY);
            } catch (ClassNotFoundException absent) {
                // the other version's place
            } catch (InvocationTargetException error) {
                return error.getCause();
            }
        }
        throw new IllegalStateException("no validateUsername");
    }
}
