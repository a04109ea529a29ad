package remote

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net/url"
	"strconv"
	"strings"
	"sync"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/backoff"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/keepalive"

	"github.com/annalsdb/annals"
	"github.com/annalsdb/annals/internal/wire"
	annalsv1 "github.com/annalsdb/annals/proto/annals/v1"
)

const (
	// PortDefault is the port of a server whose URL names none.
	PortDefault = "2113"
	// patienceDefault is how long a call waits for a server that does not answer.
	patienceDefault = 30 * time.Second
	// messageMax bounds what a server may send at once.
	messageMax = 256 << 20

	// Windows of flow control: what a server may have sent that nobody has read yet. gRPC's own are too small for a long read.
	streamWindow, connectionWindow = 1 << 20, 8 << 20

	pauseFirst   = 10 * time.Millisecond
	pauseLongest = time.Second
)

// Sentinels to branch on with errors.Is.
var (
	// ErrUnavailable: the server has not answered for as long as [Patience] says.
	ErrUnavailable = errors.New("remote: the server does not answer")
	// ErrNoStore: the server has no store of this name, or does not let the caller know of it.
	ErrNoStore = wire.ErrNoStore
	// ErrUnauthenticated: the server wants an API key that is good, see [Token].
	ErrUnauthenticated = wire.ErrUnauthenticated
	// ErrForbidden: the key may not do that.
	ErrForbidden = wire.ErrForbidden
	// ErrInterrupted: a read was cut off, and could not go on as it was, since streams were truncated or deleted meanwhile. Read again.
	ErrInterrupted = wire.ErrInterrupted
	// ErrURL: the URL is wrong.
	ErrURL = errors.New("remote: wrong URL")
)

// Option adjusts [Open].
type Option func(*options)

type options struct {
	tls      *tls.Config
	token    string
	patience time.Duration
	logger   *slog.Logger
	dial     []grpc.DialOption
}

// TLS encrypts connections under this configuration. A URL that begins with annalss:// does so under the default one.
func TLS(c *tls.Config) Option { return func(o *options) { o.tls = c } }

// Token authenticates every call with an API key. It is sent in plain to a server without TLS.
func Token(key string) Option { return func(o *options) { o.token = key } }

// Patience is how long calls wait for a server that does not answer, if their context does not end before: by default 30 seconds.
// Subscriptions wait for ever.
func Patience(d time.Duration) Option { return func(o *options) { o.patience = d } }

// Logger is told of connections that break under a subscription or a read. The default is silence.
func Logger(l *slog.Logger) Option { return func(o *options) { o.logger = l } }

// Dial adds options of gRPC, such as those that trace.
func Dial(opts ...grpc.DialOption) Option {
	return func(o *options) { o.dial = append(o.dial, opts...) }
}

// connection is what all views of a store share.
type connection struct {
	conn     *grpc.ClientConn
	client   annalsv1.StoreClient
	name     string
	patience time.Duration
	logger   *slog.Logger
	limits   annals.Limits
	powers   *annalsv1.DescribeResponse

	closeOnce sync.Once
	closeErr  error // written once, by Close

	life context.Context //nolint:containedctx // it is the store's own, and ends with Close
	end  context.CancelFunc
}

// Open connects to a store of a server: annals://HOST:PORT/NAME, or annalss:// with TLS. Without a name it is the server's default one, without a
// port 2113. It asks the server what the store can do, and fails if that does not answer.
func Open(ctx context.Context, where string, opts ...Option) (*Store, error) {
	o := options{patience: patienceDefault, logger: slog.New(slog.DiscardHandler)}
	for _, f := range opts {
		f(&o)
	}
	target, name, err := o.parse(where)
	if err != nil {
		return nil, err
	}
	conn, err := grpc.NewClient(target, o.dialOptions()...)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrURL, err)
	}
	c := &connection{conn: conn, client: annalsv1.NewStoreClient(conn), name: name, patience: o.patience, logger: o.logger}
	c.life, c.end = context.WithCancel(context.Background())
	s := &Store{connection: c}
	err = c.call(ctx, func(ctx context.Context) (err error) {
		c.powers, err = c.client.Describe(ctx, &annalsv1.DescribeRequest{Store: name})
		return err
	})
	if err != nil {
		return nil, errors.Join(fmt.Errorf("remote: open %s: %w", where, err), s.Close())
	}
	c.limits = wire.ToLimits(c.powers.GetLimits())
	return s, nil
}

// parse reads a URL.
func (o *options) parse(where string) (target, name string, err error) {
	u, err := url.Parse(where)
	if err != nil {
		return "", "", fmt.Errorf("%w: %w", ErrURL, err)
	}
	switch {
	case u.Scheme != "annals" && u.Scheme != "annalss":
		return "", "", fmt.Errorf("%w: %q does not begin with annals:// or annalss://", ErrURL, where)
	case u.Hostname() == "":
		return "", "", fmt.Errorf("%w: %q names no host", ErrURL, where)
	case u.User != nil || u.RawQuery != "" || u.Fragment != "":
		return "", "", fmt.Errorf("%w: %q has more than a host, a port and the name of a store", ErrURL, where)
	}
	name = strings.TrimPrefix(u.Path, "/")
	if strings.Contains(name, "/") {
		return "", "", fmt.Errorf("%w: %q is no name of a store", ErrURL, name)
	}
	port := u.Port()
	if port == "" {
		port = PortDefault
	}
	if n, err := strconv.ParseUint(port, 10, 16); err != nil || n == 0 {
		return "", "", fmt.Errorf("%w: %q is no port", ErrURL, port)
	}
	if u.Scheme == "annalss" && o.tls == nil {
		o.tls = &tls.Config{MinVersion: tls.VersionTLS12}
	}
	host := u.Hostname()
	if strings.Contains(host, ":") {
		host = "[" + host + "]"
	}
	return "passthrough:///" + host + ":" + port, name, nil
}

func (o *options) dialOptions() []grpc.DialOption {
	transport := insecure.NewCredentials()
	if o.tls != nil {
		transport = credentials.NewTLS(o.tls)
	}
	opts := []grpc.DialOption{
		grpc.WithTransportCredentials(transport),
		grpc.WithDefaultCallOptions(grpc.MaxCallRecvMsgSize(messageMax), grpc.MaxCallSendMsgSize(messageMax)),
		grpc.WithConnectParams(grpc.ConnectParams{
			Backoff:           backoff.Config{BaseDelay: pauseFirst, Multiplier: 1.6, Jitter: 0.2, MaxDelay: pauseLongest},
			MinConnectTimeout: 5 * time.Second,
		}),
		grpc.WithKeepaliveParams(keepalive.ClientParameters{Time: 20 * time.Second, Timeout: 10 * time.Second}),
		grpc.WithDisableServiceConfig(), grpc.WithInitialWindowSize(streamWindow), grpc.WithInitialConnWindowSize(connectionWindow),
	}
	if o.token != "" {
		opts = append(opts, grpc.WithPerRPCCredentials(bearer(o.token)))
	}
	return append(opts, o.dial...)
}

// bearer is an API key.
type bearer string

// GetRequestMetadata implements credentials.PerRPCCredentials.
func (b bearer) GetRequestMetadata(context.Context, ...string) (map[string]string, error) {
	return map[string]string{"authorization": "Bearer " + string(b)}, nil
}

// RequireTransportSecurity implements credentials.PerRPCCredentials. Whether a server is asked without TLS is the caller's choice.
func (b bearer) RequireTransportSecurity() bool { return false }
